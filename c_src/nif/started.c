/*
 * See started.h. A worker can write what it likes there: it is a number that is compared, and a wrong one makes its own calls end
 * wrongly. The memory cannot shrink, so reading it is always safe.
 */
#include "nif/started.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"

enum { SIZE = 4096 };

int pc_started_map(const _Atomic uint64_t **word) {
    int fd = pc_os_shared_memory(SIZE);
    if (fd < 0) {
        return fd;
    }
    void *memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int error = errno;
        (void)close(fd);
        return -error;
    }
    *word = memory;
    return fd;
}

void pc_started_unmap(const _Atomic uint64_t *word) { (void)munmap((void *)(uintptr_t)word, SIZE); }
