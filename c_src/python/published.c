/* See published.h. One store per call; the file is not looked at again, so it must not shrink while it is mapped. */

#include "published.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "os/os.h"

static _Atomic uint64_t own;
static _Atomic uint64_t *word = &own;
static void *memory;
static size_t size;

int pc_published_open(int fd) {
    struct stat file;
    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &file) < 0) {
        return -errno;
    }
    if (file.st_size < (off_t)sizeof *word) { /* a store behind the end is a SIGBUS */
        return -EINVAL;
    }
    size = file.st_size < (off_t)sizeof(struct pc_started) ? sizeof *word : sizeof(struct pc_started);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        memory = NULL;
        return -errno;
    }
    int error = pc_os_keep_from_children(memory, size);
    if (error != 0 && error != -ENOSYS) { /* without it a child could write there, but none does */
        (void)munmap(memory, size);
        memory = NULL;
        return error;
    }
    word = &((struct pc_started *)memory)->id;
    return 0;
}

void pc_published_set(uint64_t id) { atomic_store_explicit(word, id, memory_order_release); }

struct pc_started *pc_published_memory(void) {
    return size == sizeof(struct pc_started) ? memory : NULL;
}

void pc_published_close(void) {
    if (memory != NULL) {
        (void)munmap(memory, size);
        memory = NULL;
        word = &own;
    }
}
