#ifndef PC_WIRE_SEGMENT_H
#define PC_WIRE_SEGMENT_H

/*
 * Shared memory for large payloads (docs/protocol.md, Segments). Each end of a channel writes segments of its own, which the other
 * one can only read; a socket beside the channel carries their descriptors, always before the frame that names them, and a
 * board, which the reader writes and the writer reads, says which are free again. Nothing here knows what a payload means.
 *
 * A payload in a segment is named by index, generation and length. Each use of a segment has a generation of its own, so what the
 * reader says about one use never counts for another.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PC_SEGMENTS = 64,             /* of one writer, at once */
    PC_SEGMENT_LEAST = 64 * 1024, /* bytes: smaller payloads are cheaper in the frame */
    PC_SEGMENT_NAME = 4 + 4 + 8,  /* bytes of a name on the wire */
};

/* Which use of which segment, and how many of its bytes. */
struct pc_segment_name {
    uint32_t index;
    uint32_t generation; /* never 0 */
    uint64_t n;
};

/* Big-endian. */
void pc_segment_name_write(const struct pc_segment_name *name, uint8_t bytes[PC_SEGMENT_NAME]);
void pc_segment_name_read(struct pc_segment_name *name, const uint8_t bytes[PC_SEGMENT_NAME]);

/* Written by the reader of the segments; integers in native order. */
struct pc_board {
    _Atomic uint32_t done[PC_SEGMENTS]; /* the generation that the reader has let go of last */
};

/* ---- The writer. Any thread; a lock inside, never held over a copy or a fault. */

struct pc_segments;

struct pc_segments_opts {
    int socket;  /* where descriptors go: SOCK_SEQPACKET; stays the caller's and must outlive this */
    size_t most; /* bytes of all segments together */
    /* What is lent is write-protected here until the reader lets go of it, so that a stray write is a SIGSEGV. */
    bool protect;
    const struct pc_board *board; /* stays the caller's, and mapped as long as this is there */
};

struct pc_segments *pc_segments_new(const struct pc_segments_opts *opts); /* NULL when out of memory */
/* Unmaps and closes all, whoever still reads: the reader's mappings keep what they need. */
void pc_segments_free(struct pc_segments *s);

/*
 * Memory for n bytes, that nobody reads yet and whose content is unspecified: one that is free again, or a new one, of which the
 * reader has been told. False when there is none: too many or too much in use, no memory, or the other end takes no
 * descriptors. Then the payload goes another way.
 */
bool pc_segments_take(struct pc_segments *s, size_t n, struct pc_segment_name *name, void **memory);

/* Whether one for n bytes is there already, so that taking it does not have to make its pages, which takes a while: seven times as long as copying, or more. */
bool pc_segments_ready(struct pc_segments *s, size_t n);

/* It is written, and may be named in a frame from now on: until the reader lets go, or pc_segments_cancel. */
void pc_segments_lend(struct pc_segments *s, const struct pc_segment_name *name);

/* Taken or lent, but no frame that names it has left or will leave: it is free. Any other generation than its last: nothing happens. */
void pc_segments_cancel(struct pc_segments *s, const struct pc_segment_name *name);

/*
 * Between a take and the lend that follows it: code of the user's has a pointer to this memory, and so it stays in use, and as it is, when the reader
 * has let go of it too, until pc_segments_unpin. Not to be cancelled from then on.
 */
void pc_segments_pin(struct pc_segments *s, const struct pc_segment_name *name);
void pc_segments_unpin(struct pc_segments *s, const struct pc_segment_name *name);

/*
 * One that has to be made because the reader keeps another takes long, and may not be the last: there will be one more of that size, up to
 * 16 MiB and to half of `most` with all others, if a thread that nobody waits for calls pc_segments_prepare. A taker that comes meanwhile waits
 * for it.
 */
bool pc_segments_wants_spare(const struct pc_segments *s);
void pc_segments_prepare(struct pc_segments *s);

/* Gives back to the system what has been free for `idle_ns` by pc_clock_ns, and tells the reader to forget it. */
void pc_segments_trim(struct pc_segments *s, int64_t idle_ns);

struct pc_segments_info {
    unsigned count;
    unsigned in_use; /* taken or lent */
    size_t bytes;
    size_t bytes_in_use;
};
void pc_segments_info(struct pc_segments *s, struct pc_segments_info *info);

/* In a process that was forked from one that had segments nothing of this is mapped (pc_os_keep_from_children), and none of these may be called. */

/* ---- The reader. Any thread; locks inside. None that pc_view_drop takes is held over a call of the system. */

struct pc_views;

struct pc_views_opts {
    int socket; /* where descriptors come from: SOCK_SEQPACKET; stays the caller's and must outlive this */
    /* Mapped privately and writable: who writes there has a page of its own, dropped before the segment is let go of. */
    bool copy_on_write;
    size_t most; /* bytes of all segments together that are accepted from the other end */
};

/* `board` is written here: memory of the caller's that stays mapped until pc_views_free has returned. NULL when out of memory. */
struct pc_views *pc_views_new(const struct pc_views_opts *opts, struct pc_board *board);

/* The writer is gone or done with. Views that are out stay as they are until they are let go of; nothing is written to the board any more. */
void pc_views_free(struct pc_views *v);

/* One use of a segment that is being read. */
struct pc_view {
    const uint8_t *data;
    size_t n;
    struct pc_segment_name name;
    struct pc_view_home *home; /* private */
};

enum pc_view_status {
    PC_VIEW_OK,
    /*
     * No such segment, a length beyond its end, a use that was got before (a name is good once), or a segment that breaks the rules (seals,
     * size, too many): the other end lies or is broken.
     */
    PC_VIEW_BAD,
    PC_VIEW_NO_MEMORY, /* it could not be mapped when it came; the writer has one less from now on */
};

/*
 * What a frame has named. Looks for descriptors that have come; each must be a memfd of that size, sealed against shrinking, growing and future
 * writing, all of whose pages are there. Asks the socket each time, so that it never takes an old segment for a new one of the same index.
 */
enum pc_view_status pc_views_get(struct pc_views *v, const struct pc_segment_name *name, struct pc_view *view);

/* The bytes are not looked at any more. Each view once; any thread. */
void pc_view_drop(struct pc_view *view);

/* What the writer has told to forget meanwhile is unmapped, unless it is out. */
void pc_views_tend(struct pc_views *v);

struct pc_views_info {
    unsigned count;
    unsigned out;
    size_t bytes;
    size_t bytes_out; /* of the segments that are out, whole */
};
void pc_views_info(struct pc_views *v, struct pc_views_info *info);

#endif
