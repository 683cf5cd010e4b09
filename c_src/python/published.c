/* See published.h. One store per call; the file is not looked at again, so it must not shrink while it is mapped. */

#include "published.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "os/os.h"

typedef _Atomic uint64_t word_type;

static word_type own;
static word_type *word = &own;

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
    void *page = mmap(NULL, sizeof *word, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    int error = pc_os_keep_from_children(page, sizeof *word);
    if (error != 0 && error != -ENOSYS) { /* without it a child could write there, but none does */
        (void)munmap(page, sizeof *word);
        return error;
    }
    word = page;
    return 0;
}

void pc_published_set(uint64_t id) { atomic_store_explicit(word, id, memory_order_release); }

void pc_published_close(void) {
    if (word != &own) {
        (void)munmap((void *)word, sizeof *word);
        word = &own;
    }
}
