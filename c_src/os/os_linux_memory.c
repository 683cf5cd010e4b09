/*
 * Memory that processes share (os.h). Its size is sealed before anybody else has it, so that nobody is killed for reading it; what one process
 * writes for others is sealed against new writable mappings, too, when its own is there.
 */

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Younger than some C libraries. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
enum { POPULATE_WRITE = 23, NOEXEC_SEAL = 0x0008 };

enum {
    HUGE = 2 << 20,
    PIECE = 1 << 20, /* what is allocated at once: a signal ends the call, and what it has done so far is undone */
    ENTRIES = 512,   /* of pagemap, read at once */
};

/* Of pagemap's entries, one for each page. */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_OF_FILE (UINT64_C(1) << 61) /* or of shared memory, so not a private copy */

static int result(long rc) { return rc < 0 ? -errno : (int)rc; }

/* Some systems insist on memory that cannot be executed; kernels before 6.3 do not know that there is any. */
static int create(void) {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = result(memfd_create("pitcrew", flags | NOEXEC_SEAL));
    return fd == -EINVAL ? result(memfd_create("pitcrew", flags)) : fd;
}

/* A descriptor whose size is not sealed yet, or -errno. A file larger than this process may make would be a signal, which kills it. */
static int new_memory(size_t size) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return -errno;
    }
    if (limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur) {
        return -EFBIG;
    }
    int fd = create();
    if (fd < 0) {
        return fd;
    }
    if (ftruncate(fd, (off_t)size) != 0) {
        int error = errno;
        (void)close(fd);
        return -error;
    }
    return fd;
}

static int seal(int fd, int more) {
    return result(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | more));
}

int pc_os_shared_memory(size_t size) {
    int fd = new_memory(size);
    if (fd < 0) {
        return fd;
    }
    int error = seal(fd, 0);
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    return fd;
}

int pc_os_keep_from_children(void *pages, size_t n) { return result(madvise(pages, n, MADV_DONTFORK)); }

/* For kernels before 5.14: pages are reserved in the file, and are there when they have been touched. */
static int allocate(int fd, volatile char *memory, size_t size) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int rc = 0;
    for (size_t at = 0; at < size && rc == 0; at += PIECE) {
        size_t n = size - at < PIECE ? size - at : PIECE;
        do {
            rc = result(fallocate(fd, 0, (off_t)at, (off_t)n));
        } while (rc == -EINTR);
    }
    for (size_t at = 0; at < size && rc == 0; at += page) {
        memory[at] = 0;
    }
    return rc;
}

/*
 * Through the mapping, which is where huge pages are asked for. It takes no longer than the faults of the first use would: what is made here is
 * used at once.
 */
static int bring_pages(int fd, void *memory, size_t size) {
    int rc = result(madvise(memory, size, POPULATE_WRITE));
    return rc == -EINVAL ? allocate(fd, memory, size) : rc;
}

int pc_os_written_memory(size_t size, void **memory) {
    int fd = new_memory(size);
    if (fd < 0) {
        return fd;
    }
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        int error = errno;
        (void)close(fd);
        return -error;
    }
    if (size >= HUGE) {
        (void)madvise(mapped, size, MADV_HUGEPAGE); /* only ever faster */
    }
    int rc = pc_os_keep_from_children(mapped, size);
    rc = rc != 0 ? rc : bring_pages(fd, mapped, size);
    rc = rc != 0 ? rc : seal(fd, F_SEAL_FUTURE_WRITE);
    if (rc != 0) {
        (void)munmap(mapped, size);
        (void)close(fd);
        return rc;
    }
    *memory = mapped;
    return fd;
}

static int check(int fd, size_t size, int wanted, struct stat *file) {
    int seals = fcntl(fd, F_GET_SEALS); /* fails on what is no memory */
    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, file) != 0) {
        return -EINVAL;
    }
    return size > 0 && file->st_size >= 0 && (uint64_t)file->st_size == size ? 0 : -EINVAL;
}

int pc_os_check_shared_memory(int fd, size_t size) {
    struct stat file;
    return check(fd, size, F_SEAL_SHRINK | F_SEAL_GROW, &file);
}

/* Memory of huge pages could fail when it is used. A page that was swapped out is no hole. */
int pc_os_check_written_memory(int fd, size_t size) {
    struct stat file;
    struct statfs system;
    int rc = check(fd, size, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE, &file);
    if (rc != 0) {
        return rc;
    }
    bool of_pages = fstatfs(fd, &system) == 0 && (unsigned long)system.f_type == TMPFS_MAGIC;
    return of_pages && lseek(fd, 0, SEEK_HOLE) == file.st_size ? 0 : -EINVAL;
}

static bool is_copy(uint64_t entry) {
    return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0 && (entry & ENTRY_OF_FILE) == 0;
}

static int drop(char *memory, size_t first, size_t end, size_t page) {
    return result(madvise(memory + first * page, (end - first) * page, MADV_DONTNEED));
}

/* Among `count` pages from `first` on. */
static int drop_among(char *memory, size_t first, const uint64_t *entries, size_t count, size_t page) {
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        size_t begin = i;
        while (i < count && is_copy(entries[i])) {
            i++;
        }
        if (i > begin) {
            rc = drop(memory, first + begin, first + i, page);
        }
    }
    return rc;
}

static bool read_entries(int pagemap, const char *memory, size_t page, uint64_t *entries, size_t count) {
    off_t at = (off_t)((uintptr_t)memory / page * sizeof *entries);
    ssize_t n;
    do {
        n = pread(pagemap, entries, count * sizeof *entries, at);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)(count * sizeof *entries);
}

/* Opened each time: a descriptor that is kept would be one more that a tool may close, and in a child it would still be its parent's. */
int pc_os_drop_copies(void *memory, size_t size) {
    uint64_t entries[ENTRIES];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t pages = (size + page - 1) / page;
    int rc = 0;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) {
        return drop(memory, 0, pages, page);
    }
    for (size_t at = 0; at < pages && rc == 0; at += ENTRIES) {
        size_t count = pages - at < ENTRIES ? pages - at : ENTRIES;
        if (read_entries(pagemap, (char *)memory + at * page, page, entries, count)) {
            rc = drop_among(memory, at, entries, count, page);
        } else {
            rc = drop(memory, at, at + count, page);
        }
    }
    (void)close(pagemap);
    return rc;
}
