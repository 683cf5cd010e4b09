/*
 * See boards.h. Each board is a page. The VM's has its only writable mapping there; the worker's is mapped there from a descriptor that came, so
 * only its size is sealed. What it says is only compared.
 */
#include "wire/boards.h"

#include <errno.h>
#include <sys/mman.h>

#include "os/os.h"
#include "wire/segment_private.h"

enum { BOARD = 4096 };
_Static_assert(sizeof(struct pc_board) <= BOARD, "a board is one page");

static int map(int fd, int use, void **memory) {
    *memory = mmap(NULL, BOARD, use, MAP_SHARED, fd, 0);
    if (*memory == MAP_FAILED) {
        *memory = NULL;
        return -errno;
    }
    return 0;
}

static void unmap(const struct pc_board *board) {
    if (board != NULL) {
        (void)munmap((void *)(uintptr_t)board, BOARD);
    }
}

void pc_boards_close(struct pc_boards *b) {
    unmap(b->own);
    unmap(b->other);
    *b = (struct pc_boards){.own = NULL, .other = NULL};
}

int pc_boards_send(int socket, struct pc_boards *b) {
    const struct pc_segment_packet packet = {.kind = PC_PACKET_BOARDS, .size = BOARD};
    int fds[PC_PACKET_FDS] = {-1, -1};
    void *own = NULL;
    void *other = NULL;
    int rc = fds[0] = pc_os_written_memory(BOARD, &own);
    if (rc >= 0) {
        rc = fds[1] = pc_os_shared_memory(BOARD);
    }
    if (rc >= 0) {
        rc = map(fds[1], PROT_READ, &other);
    }
    if (rc == 0) {
        rc = pc_segment_packet_send(socket, &packet, fds);
    }
    pc_segment_packet_close(fds);
    *b = (struct pc_boards){.own = own, .other = other};
    if (rc != 0) {
        pc_boards_close(b);
    }
    return rc;
}

/* In the worker: both are what the VM says. */
static int map_both(const int fds[PC_PACKET_FDS], void **own, void **other) {
    int rc = pc_os_check_written_memory(fds[0], BOARD);
    rc = rc != 0 ? rc : pc_os_check_shared_memory(fds[1], BOARD);
    rc = rc != 0 ? rc : map(fds[0], PROT_READ, other);
    rc = rc != 0 ? rc : map(fds[1], PROT_READ | PROT_WRITE, own);
    return rc != 0 ? rc : pc_os_keep_from_children(*own, BOARD);
}

int pc_boards_receive(int socket, struct pc_boards *b) {
    struct pc_segment_packet packet;
    int fds[PC_PACKET_FDS] = {-1, -1};
    void *own = NULL;
    void *other = NULL;
    *b = (struct pc_boards){.own = NULL, .other = NULL};
    switch (pc_segment_packet_receive(socket, &packet, fds)) {
    case PC_PACKET_NONE:
        return -EAGAIN;
    case PC_PACKET_LOST:
        return -EMFILE;
    case PC_PACKET_BAD:
        return -EPROTO;
    case PC_PACKET_GOOD:
        break;
    }
    int rc = packet.kind == PC_PACKET_BOARDS && packet.size == BOARD ? map_both(fds, &own, &other) : -EPROTO;
    pc_segment_packet_close(fds);
    *b = (struct pc_boards){.own = own, .other = other};
    if (rc != 0) {
        pc_boards_close(b);
    }
    return rc;
}
