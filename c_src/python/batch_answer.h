#ifndef PC_PYTHON_BATCH_ANSWER_H
#define PC_PYTHON_BATCH_ANSWER_H

#include "answer.h"

/*
 * Appends what has become of a batch as the value of a reply; in JSON the end of the frame, too. What went wrong with one call stands in its
 * place. Fails only where that has no room either, or this process was forked by a converter.
 */
int pc_batch_write(struct pc_answer *a, PyObject *batch, unsigned max_depth);

#endif
