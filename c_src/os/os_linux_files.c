/* Pages of files that this process has mapped (os.h), as /proc/self/smaps tells of them. */

#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One mapping of the list: a line that begins with its addresses, and lines "Name: value kB" about it. */
struct mapping {
    uintptr_t begin, end;
    bool clean; /* private, of a file, cannot be written to, and nothing said so far that it was */
};

/* False: the line is no first line of a mapping. Addresses have no colon before their first space, names of values have. */
static bool read_first_line(const char *line, struct mapping *m) {
    unsigned long inode;
    char may[5];
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &m->begin, &m->end, may, &inode) != 4) {
        return false;
    }
    m->clean = inode != 0 && (strcmp(may, "r--p") == 0 || strcmp(may, "r-xp") == 0);
    return true;
}

/* Relocated and then protected, patched by a debugger, swapped out since: such pages are in no file, and to drop them would be to lose them. */
static bool is_copied(const char *line) {
    unsigned long kib;
    return (sscanf(line, "Anonymous: %lu", &kib) == 1 || sscanf(line, "Swap: %lu", &kib) == 1 ||
            sscanf(line, "Private_Hugetlb: %lu", &kib) == 1) &&
           kib > 0;
}

/* It is advice: devices and locked memory refuse it. */
static void leave(const struct mapping *m) {
    if (m->clean) {
        (void)madvise((void *)m->begin, m->end - m->begin, MADV_DONTNEED);
    }
}

int pc_os_leave_file_pages(void) {
    struct mapping m = {.clean = false};
    char *line = NULL;
    size_t room = 0;
    FILE *list = fopen("/proc/self/smaps", "re");
    if (list == NULL) {
        return -errno;
    }
    errno = 0;
    while (getline(&line, &room, list) >= 0) {
        struct mapping next;
        if (read_first_line(line, &next)) {
            leave(&m);
            m = next;
        } else if (is_copied(line)) {
            m.clean = false;
        }
    }
    /* The last one is the kernel's own, and what is known of it after an error is not all. */
    int rc = feof(list) ? 0 : errno == 0 ? -EIO : -errno;
    free(line);
    (void)fclose(list);
    return rc;
}
