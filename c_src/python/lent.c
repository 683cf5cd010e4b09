/* See lent.h. */

#include "lent.h"

#include "blocks.h"
#include "buffers.h"
#include "guard.h"
#include "wire/segment_footer.h"

/* Bytes. What is less is copied in less time than it may take to have the GIL again. */
enum { LET_GO_LEAST = 1024 * 1024 };

struct pc_lent_part {
    struct pc_segment_name name;
    PyObject *block; /* owned; NULL for a copy */
};

/* ---- Parts */

/* The first part: room for all that there can be. */
static bool begin(struct pc_lent *l, struct pc_buffers *home) {
    l->parts = PyMem_Malloc(PC_SEGMENTS * sizeof *l->parts);
    if (l->parts == NULL) {
        return false;
    }
    pc_buffers_hold(home);
    l->home = home;
    return true;
}

/* Asked anew for each part: a converter of the user's may have forked this process. */
static bool prepare(struct pc_lent *l) {
    struct pc_buffers *now = pc_buffers_now();
    if (now == NULL || l->count == PC_SEGMENTS) {
        return false;
    }
    return l->home == NULL ? begin(l, now) : l->home == now;
}

static void add(struct pc_encoder *e, enum pc_segment_kind kind, const struct pc_segment_name *name, PyObject *block) {
    struct pc_lent *l = e->lent;
    pc_segment_payload_write(e->w, kind, name);
    l->parts[l->count++] = (struct pc_lent_part){.name = *name, .block = Py_XNewRef(block)};
    l->bytes += name->n;
}

/* Whether so many bytes more are within the limit of the frame; if not, the writer has failed. */
static bool fits(struct pc_encoder *e, size_t n) {
    struct pc_writer *w = e->w;
    size_t used = w->len + e->lent->bytes;
    if (w->status == PC_OK && (used > w->max || n > w->max - used)) {
        w->status = PC_TOO_BIG;
    }
    return w->status == PC_OK;
}

static bool take_copy(struct pc_segments *out, const void *bytes, size_t n, struct pc_segment_name *name) {
    void *memory;
    bool taken = pc_segments_take(out, n, name, &memory);
    if (taken) {
        memcpy(memory, bytes, n);
    }
    return taken;
}

/* Both may take long. */
static bool take_copy_outside(struct pc_segments *out, const void *bytes, size_t n, struct pc_segment_name *name) {
    bool taken;
    Py_BEGIN_ALLOW_THREADS taken = take_copy(out, bytes, n, name);
    Py_END_ALLOW_THREADS return taken;
}

bool pc_lent_write(struct pc_encoder *e, enum pc_segment_kind kind, const void *bytes, size_t n) {
    struct pc_segment_name name;
    if (e->lent == NULL || n < PC_SEGMENT_LEAST || !fits(e, n) || !prepare(e->lent)) {
        return false;
    }
    struct pc_segments *out = pc_buffers_out(e->lent->home);
    bool taken = n < LET_GO_LEAST ? take_copy(out, bytes, n, &name) : take_copy_outside(out, bytes, n, &name);
    if (taken) {
        add(e, kind, &name, NULL);
    }
    return taken;
}

int pc_lent_write_block(struct pc_encoder *e, PyObject *block) {
    struct pc_segment_name name;
    if (e->lent == NULL || !pc_block_name(block, &name) || !fits(e, name.n) || !prepare(e->lent)) {
        return 0;
    }
    if (pc_block_begin(block) < 0) {
        return -1;
    }
    add(e, PC_SEGMENT_BIN, &name, block);
    return 1;
}

/* ---- The end of the frame */

void pc_lent_undo(struct pc_lent *l, uint32_t parts) {
    struct pc_segments *out = l->count == parts || pc_guard_forked() ? NULL : pc_buffers_out(l->home);
    while (l->count > parts) {
        struct pc_lent_part *part = &l->parts[--l->count];
        l->bytes -= part->name.n;
        if (part->block != NULL) {
            pc_block_end(part->block, false);
        } else if (out != NULL) {
            pc_segments_cancel(out, &part->name);
        }
        Py_XDECREF(part->block);
    }
}

void pc_lent_write_footer(const struct pc_lent *l, struct pc_writer *w) {
    struct pc_segment_name names[PC_SEGMENTS];
    for (uint32_t i = 0; i < l->count; i++) {
        names[i] = l->parts[i].name;
    }
    pc_segment_footer_write(w, names, l->count);
}

static void end(struct pc_lent *l, bool complete) {
    if (l->home == NULL) {
        return;
    }
    struct pc_segments *out = pc_guard_forked() ? NULL : pc_buffers_out(l->home);
    for (uint32_t i = 0; i < l->count; i++) {
        struct pc_lent_part *part = &l->parts[i];
        if (part->block != NULL) {
            pc_block_end(part->block, complete);
        } else if (out != NULL && !complete) {
            pc_segments_cancel(out, &part->name);
        }
        if (out != NULL && complete) {
            pc_segments_lend(out, &part->name);
        }
        Py_XDECREF(part->block);
    }
    PyMem_Free(l->parts);
    pc_buffers_prepare(l->home);
    pc_buffers_release(l->home);
    *l = (struct pc_lent){.home = NULL};
}

void pc_lent_commit(struct pc_lent *l) { end(l, true); }

void pc_lent_cancel(struct pc_lent *l) { end(l, false); }
