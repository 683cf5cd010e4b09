/*
 * See started.h. A worker can write what it likes there: numbers are compared, and bytes are copied before anybody looks at them, so what is
 * wrong makes only its own calls end wrongly. The memory cannot shrink, so reading it is always safe.
 */
#include "nif/started.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "wire/started.h"

int pc_started_map(const struct pc_started **started) {
    int fd = pc_os_shared_memory(sizeof(struct pc_started));
    if (fd < 0) {
        return fd;
    }
    void *memory = mmap(NULL, sizeof(struct pc_started), PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int error = errno;
        (void)close(fd);
        return -error;
    }
    *started = memory;
    return fd;
}

void pc_started_unmap(const struct pc_started *started) {
    (void)munmap((void *)(uintptr_t)started, sizeof(struct pc_started));
}

uint64_t pc_started_id(const struct pc_started *started) {
    return atomic_load_explicit(&started->id, memory_order_acquire);
}

size_t pc_started_unsent(const struct pc_started *started, uint64_t received, const uint8_t **data) {
    uint64_t base = atomic_load_explicit(&started->base, memory_order_acquire);
    uint64_t ready = atomic_load_explicit(&started->ready, memory_order_acquire);
    if (base > received || ready <= received || ready - base > PC_STARTED_HELD) {
        return 0;
    }
    *data = started->held + (received - base);
    return (size_t)(ready - received);
}
