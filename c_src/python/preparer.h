#ifndef PC_PYTHON_PREPARER_H
#define PC_PYTHON_PREPARER_H

/*
 * A thread that calls pc_segments_prepare while tools run. It is born when it is needed for the first time: most workers never send what is
 * large. It touches no Python, takes no signal and allocates nothing: a tool may fork at any moment.
 */

#include "wire/segment.h"

/* With the GIL, which guards what is here. Where no thread can be born nothing is prepared. */
void pc_preparer_wake(struct pc_segments *segments);

/* It is through with them, and gone. */
void pc_preparer_stop(void);

#endif
