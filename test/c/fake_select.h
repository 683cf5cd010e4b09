#ifndef PC_TEST_FAKE_SELECT_H
#define PC_TEST_FAKE_SELECT_H

/*
 * The VM's select and a process's mailbox, as far as a channel sees them, over epoll: a thread of its own fires events. It
 * clears an event before it sends the message for it, so between the two a select can be cancelled no more, as in the VM.
 * One descriptor at a time.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { SELECT_IN = 1, SELECT_OUT = 2 };

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned selects; /* messages that wait */
    bool verdict;     /* so does this one, which says how many selects are owed */
    unsigned owed;
    bool dead; /* of its process */
};

struct fake_select {
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    pthread_t thread;
    int epoll, wake[2];
    uint64_t round; /* an event of an earlier one counts no more */
    unsigned armed, in_flight;
    struct mailbox *to;
};

static inline void mailbox_init(struct mailbox *m) {
    *m = (struct mailbox){.selects = 0};
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
}

static inline void mailbox_destroy(struct mailbox *m) {
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
}

static inline void mailbox_put_selects(struct mailbox *m, unsigned n) {
    pthread_mutex_lock(&m->lock);
    m->selects += n;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static inline unsigned fake_select_bits(uint32_t events) {
    unsigned bits = 0;
    bits |= (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 ? SELECT_IN : 0;
    bits |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 ? SELECT_OUT : 0;
    return bits;
}

/* Under the lock: has epoll watch what is armed, once. */
static inline void fake_select_watch(struct fake_select *s, int fd, int operation) {
    struct epoll_event e = {.events = EPOLLONESHOT, .data.u64 = s->round << 32 | (uint32_t)fd};
    e.events |= (s->armed & SELECT_IN) != 0 ? EPOLLIN : 0;
    e.events |= (s->armed & SELECT_OUT) != 0 ? EPOLLOUT : 0;
    (void)epoll_ctl(s->epoll, operation, fd, &e);
}

static inline void *fake_select_run(void *argument) {
    struct fake_select *s = argument;
    for (;;) {
        struct epoll_event e;
        if (epoll_wait(s->epoll, &e, 1, -1) != 1) {
            continue;
        }
        if (e.data.u64 == 0) {
            return NULL;
        }
        pthread_mutex_lock(&s->lock);
        bool current = e.data.u64 >> 32 == s->round;
        unsigned fired = current ? s->armed & fake_select_bits(e.events) : 0;
        struct mailbox *to = s->to;
        s->armed &= ~fired;
        if (current && s->armed != 0) {
            fake_select_watch(s, (int)(uint32_t)e.data.u64, EPOLL_CTL_MOD);
        }
        s->in_flight++;
        pthread_mutex_unlock(&s->lock);
        if (fired != 0) {
            mailbox_put_selects(to, fired == (SELECT_IN | SELECT_OUT) ? 2 : 1);
        }
        pthread_mutex_lock(&s->lock);
        s->in_flight--;
        pthread_cond_signal(&s->quiet);
        pthread_mutex_unlock(&s->lock);
    }
}

/* Ready for one more descriptor, which is unknown until it is armed. */
static inline void fake_select_open(struct fake_select *s, int fd) {
    pthread_mutex_lock(&s->lock);
    s->round++;
    s->armed = 0;
    fake_select_watch(s, fd, EPOLL_CTL_ADD);
    pthread_mutex_unlock(&s->lock);
}

static inline void fake_select_arm(struct fake_select *s, int fd, unsigned bits, struct mailbox *to) {
    pthread_mutex_lock(&s->lock);
    s->armed |= bits;
    s->to = to;
    fake_select_watch(s, fd, EPOLL_CTL_MOD);
    pthread_mutex_unlock(&s->lock);
}

/* Which of the events will not come. */
static inline unsigned fake_select_cancel(struct fake_select *s, int fd, unsigned bits) {
    pthread_mutex_lock(&s->lock);
    unsigned cancelled = s->armed & bits;
    s->armed &= ~bits;
    fake_select_watch(s, fd, EPOLL_CTL_MOD);
    pthread_mutex_unlock(&s->lock);
    return cancelled;
}

/* No event comes any more, and the descriptor is closed. */
static inline void fake_select_stop(struct fake_select *s, int fd) {
    pthread_mutex_lock(&s->lock);
    s->armed = 0;
    s->round++;
    /* As the VM does. A descriptor that the thread looks at meanwhile would stay open until that thread wakes up. */
    (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
    pthread_mutex_unlock(&s->lock);
}

/* Afterwards every message that was to come is there. */
static inline void fake_select_settle(struct fake_select *s) {
    pthread_mutex_lock(&s->lock);
    while (s->in_flight > 0) {
        pthread_cond_wait(&s->quiet, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static inline bool fake_select_start(struct fake_select *s) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
    *s = (struct fake_select){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->quiet, NULL);
    return s->epoll >= 0 && pipe(s->wake) == 0 && epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake[0], &e) == 0 &&
           pthread_create(&s->thread, NULL, fake_select_run, s) == 0;
}

static inline void fake_select_end(struct fake_select *s) {
    close(s->wake[1]);
    pthread_join(s->thread, NULL);
    close(s->wake[0]);
    close(s->epoll);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->quiet);
}

#endif
