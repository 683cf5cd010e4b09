/*
 * The real port program under whatever sanitizer it was built with: a VM that starts, kills, stops and talks in random order,
 * in messages that come in pieces, while workers fork, connect, flood, leave daemons behind and die. Every message of the port has to be
 * legal, and when a life is over, whichever of its parts ended it, no process is left.
 *
 * PORT_RACES_ROUNDS says how much of it, PORT_RACES_SEED repeats one life. This program is also the zygote (race_zygote.h).
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "codec/writer.h"
#include "port/sweep.h"
#include "race_model.h"
#include "wire/clock.h"

enum { ROUNDS = 1000, ROUNDS_OF_A_LIFE = 100, GUESTS = 64, PATIENCE_S = 30, PAYLOAD_MOST = 64 * 1024 };

struct life {
    struct race_model m;
    char dir[64], path[80], instance[17];
    int in, out; /* the port's stdin and stdout */
    int listener;
    int guests[GUESTS];
    uint32_t guest_wid[GUESTS];
    size_t guest_count;
    size_t input_len;
    uint8_t input[1 << 20];
};

static unsigned draw(struct life *l, unsigned n) { return (unsigned)rand_r(&l->m.random) % n; }

/* ---- Talking */

static void read_events(struct life *l) {
    ssize_t n = read(l->out, l->input + l->input_len, sizeof l->input - l->input_len);
    size_t at = 0;
    if (n <= 0) {
        return;
    }
    l->input_len += (size_t)n;
    while (l->input_len - at >= 4 && l->input_len - at - 4 >= pc_frame_length(l->input + at)) {
        size_t size = pc_frame_length(l->input + at);
        race_event(&l->m, l->input + at + 4, size);
        at += 4 + size;
    }
    l->input_len -= at;
    memmove(l->input, l->input + at, l->input_len);
}

static void hang_up(struct life *l, size_t i) {
    close(l->guests[i]);
    l->guest_count--;
    l->guests[i] = l->guests[l->guest_count];
    l->guest_wid[i] = l->guest_wid[l->guest_count];
}

static void accept_guest(struct life *l) {
    int fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (l->guest_count == GUESTS) {
        hang_up(l, draw(l, GUESTS));
    }
    l->guest_wid[l->guest_count] = 0;
    l->guests[l->guest_count++] = fd;
}

/* Whoever has said who it is, before or after the port has told of it. Those that are stopped in between never may. */
static void greet_guests(struct life *l) {
    for (size_t i = l->guest_count; i-- > 0;) {
        pid_t pid;
        uid_t uid;
        gid_t gid;
        uint32_t wid;
        if (l->guest_wid[i] != 0) {
            continue;
        }
        ssize_t n = recv(l->guests[i], &wid, sizeof wid, 0);
        if (n == sizeof wid && pc_os_peer(l->guests[i], &pid, &uid, &gid) == 0) {
            struct race_worker_seen *w = race_worker_of(&l->m, wid);
            race_check(&l->m, w->peer == 0 && uid == geteuid() && (!w->was_there || w->pid == pid));
            w->peer = pid;
            l->guest_wid[i] = wid;
        } else if (n >= 0 || errno != EAGAIN) {
            hang_up(l, i); /* a stranger, or it has died */
        }
    }
}

/* Takes what is there; waits for it so long at most. */
static bool listen_to_port(struct life *l, int ms) {
    struct pollfd p[2] = {{.fd = l->out, .events = POLLIN}, {.fd = l->listener, .events = POLLIN}};
    if (poll(p, 2, ms) <= 0) {
        return false;
    }
    if ((p[0].revents & POLLIN) != 0) {
        read_events(l);
    }
    if ((p[1].revents & POLLIN) != 0) {
        accept_guest(l);
    }
    greet_guests(l);
    return (p[0].revents & ~POLLIN) == 0;
}

/* In pieces, with events in between. A port that has gone is noticed elsewhere. */
static void send_bytes(struct life *l, const uint8_t *bytes, size_t n) {
    while (n > 0) {
        size_t piece = draw(l, 3) == 0 ? 1 + draw(l, (unsigned)n) : n;
        ssize_t written = write(l->in, bytes, piece);
        if (written < 0) {
            return;
        }
        bytes += written;
        n -= (size_t)written;
        if (n > 0 && draw(l, 2) == 0) {
            (void)listen_to_port(l, (int)draw(l, 3));
        }
    }
}

static void message_begin(struct pc_writer *w, size_t fields, const char *name) {
    pc_writer_init(w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    (void)pc_write_frame_begin(w);
    pc_write_array(w, fields);
    pc_write_cstr(w, name);
}

/* All of it, or the first `most` bytes. */
static void message_end(struct life *l, struct pc_writer *w, size_t most) {
    pc_write_frame_end(w, 0);
    assert_int_equal(w->status, PC_OK);
    send_bytes(l, w->data, w->len < most ? w->len : most);
    free(w->data);
}

static void send_numbers(struct life *l, const char *name, size_t fields, int64_t a, int64_t b) {
    struct pc_writer w;
    message_begin(&w, fields, name);
    pc_write_int(&w, a);
    if (fields > 2) {
        pc_write_int(&w, b);
    }
    message_end(l, &w, SIZE_MAX);
}

/* ---- What happens in a round */

static void start_zygote(struct life *l) {
    static char self[256];
    struct pc_writer w;
    if (l->m.zygotes + 1 == RACE_ZYGOTES) {
        return;
    }
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    l->m.zygote[++l->m.zygotes].asked = true;
    message_begin(&w, 5, "zygote");
    pc_write_uint(&w, l->m.zygotes);
    pc_write_array(&w, 2);
    pc_write_cstr(&w, self);
    pc_write_cstr(&w, "--zygote");
    pc_write_map(&w, 0);
    pc_write_nil(&w);
    message_end(l, &w, SIZE_MAX);
}

static uint32_t any_zygote(struct life *l) { return l->m.zygotes == 0 ? 0 : 1 + draw(l, l->m.zygotes); }

/* Of the newest: the older ones have mostly ended. */
static uint32_t any_worker(struct life *l) {
    uint32_t among = l->m.workers < 24 ? l->m.workers : 24;
    return among == 0 ? 0 : l->m.workers - draw(l, among);
}

static void ask_for_worker(struct life *l) {
    static const char ways[] = "ccccxibdfupr";
    static uint8_t payload[PAYLOAD_MOST + 1];
    struct pc_writer w;
    /* Sometimes of a zygote that has ended, sometimes with the number of a worker that is there. */
    uint32_t zid = draw(l, 8) == 0 ? any_zygote(l) : l->m.zygotes;
    bool again = l->m.workers > 0 && draw(l, 16) == 0;
    uint32_t wid = again ? any_worker(l) : l->m.workers + 1;
    if (wid == RACE_WORKERS || zid == 0 || (again && l->m.worker[wid].how == 'c')) {
        return;
    }
    struct race_worker_seen *seen = &l->m.worker[wid];
    if (!again) {
        l->m.workers = wid;
        *seen = (struct race_worker_seen){.zid = zid, .pidfd = -1, .how = ways[draw(l, sizeof ways - 1)]};
    }
    seen->asks++;
    size_t n = draw(l, 32) == 0 ? PAYLOAD_MOST + draw(l, 2) : 2 + strlen(l->path);
    memset(payload, 0, sizeof payload);
    payload[0] = (uint8_t)seen->how;
    memcpy(payload + 1, l->path, strlen(l->path));
    message_begin(&w, 4, "fork");
    pc_write_uint(&w, again ? seen->zid : zid);
    pc_write_uint(&w, wid);
    pc_write_bin(&w, payload, n);
    message_end(l, &w, SIZE_MAX);
}

static int any_signal(struct life *l) {
    static const int signals[] = {SIGTERM, SIGKILL, SIGKILL, SIGSTOP, SIGCONT, SIGUSR1};
    return signals[draw(l, sizeof signals / sizeof *signals)];
}

static void kill_worker(struct life *l, bool behind_the_port) {
    int signal = any_signal(l);
    uint32_t wid = any_worker(l);
    if (wid == 0) {
        return;
    }
    struct race_worker_seen *w = &l->m.worker[wid];
    if (!behind_the_port) {
        w->sent |= UINT64_C(1) << signal;
        send_numbers(l, "kill", 3, wid, signal);
    } else if (w->alive && w->pidfd >= 0) {
        w->sent |= UINT64_C(1) << signal;
        (void)pc_os_pidfd_signal(w->pidfd, signal);
    }
}

/* Stopped ones are mostly left so: the port has to notice. */
static void kill_zygote(struct life *l) {
    uint32_t zid = any_zygote(l);
    int signal = draw(l, 2) == 0 ? SIGSTOP : any_signal(l);
    if (zid > 0) {
        l->m.zygote[zid].doomed = l->m.zygote[zid].doomed || signal != SIGCONT;
        send_numbers(l, "kill_zygote", 3, zid, signal);
    }
}

static void answer_guest(struct life *l) {
    static const uint8_t leave = RACE_STATUS;
    if (l->guest_count == 0) {
        return;
    }
    size_t i = draw(l, (unsigned)l->guest_count);
    if (l->guest_wid[i] != 0 && draw(l, 2) == 0) {
        l->m.worker[l->guest_wid[i]].told_leave = true;
        (void)!send(l->guests[i], &leave, 1, MSG_NOSIGNAL);
    }
    hang_up(l, i);
}

/* Somebody who is no worker. */
static void connect_stranger(struct life *l) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", l->path);
    (void)!connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
}

static void give_credit(struct life *l) {
    int64_t bytes = draw(l, 4096);
    l->m.credit += (uint64_t)bytes;
    send_numbers(l, "credit", 2, bytes, 0);
}

static void play_round(struct life *l) {
    unsigned n = draw(l, 100);
    if (n < 4 || l->m.zygotes == 0 || (l->m.zygote[l->m.zygotes].doomed && n < 50)) {
        start_zygote(l);
    } else if (n < 45) {
        ask_for_worker(l);
    } else if (n < 60) {
        kill_worker(l, false);
    } else if (n < 68) {
        kill_worker(l, true);
    } else if (n < 71) {
        kill_zygote(l);
    } else if (n < 85) {
        answer_guest(l);
    } else if (n < 88) {
        connect_stranger(l);
    } else if (n < 96) {
        give_credit(l);
    } else {
        send_numbers(l, "dance", 2, 1, 0);
    }
    while (listen_to_port(l, (int)draw(l, 4))) {}
}

/* ---- Life and death */

static void spawn_port(struct life *l) {
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    l->m.guard = fork();
    if (l->m.guard == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execl(PC_PORT_PROGRAM, "pitcrew_port", l->dir, l->instance, (char *)NULL);
        _exit(126);
    }
    close(in[0]);
    close(out[1]);
    l->in = in[1];
    l->out = out[0];
    assert_int_equal(fcntl(l->out, F_SETFL, O_NONBLOCK), 0);
}

static void begin(struct life *l, unsigned seed) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memset(l, 0, sizeof *l);
    l->m.seed = l->m.random = seed;
    snprintf(l->instance, sizeof l->instance, "%08x%08x", (unsigned)getpid(), seed);
    snprintf(l->dir, sizeof l->dir, "/tmp/pitcrew.%s", l->instance);
    snprintf(l->path, sizeof l->path, "%s/s", l->dir);
    assert_int_equal(mkdir(l->dir, 0700), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", l->path);
    l->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(l->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(l->listener, 128), 0);
    spawn_port(l);
    while (!l->m.hello) {
        race_check(&l->m, listen_to_port(l, PATIENCE_S * 1000));
    }
}

static bool is_marked;

static bool look_for_mark(pid_t pid, void *context) {
    uint32_t wid;
    is_marked = is_marked || pc_mark_read(pid, context, &wid);
    return !is_marked;
}

/* Reaps guard and port, whichever are this process's children; their statuses. Everything else would be an orphan that they have left. */
static void reap_all(struct life *l, int *guard, int *port) {
    int64_t deadline = pc_clock_ns() + PATIENCE_S * INT64_C(1000000000);
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == ECHILD) {
            return;
        }
        if (pid > 0) {
            race_check(&l->m, pid == l->m.guard || pid == l->m.port);
            *(pid == l->m.guard ? guard : port) = status;
            continue;
        }
        race_check(&l->m, pc_clock_ns() < deadline);
        (void)listen_to_port(l, 10);
    }
}

static void close_life(struct life *l) {
    while (l->guest_count > 0) {
        hang_up(l, 0);
    }
    for (uint32_t wid = 1; wid <= l->m.workers; wid++) {
        if (l->m.worker[wid].pidfd >= 0) {
            close(l->m.worker[wid].pidfd);
        }
    }
    if (l->in >= 0) {
        close(l->in);
    }
    close(l->out);
    close(l->listener);
}

static const char *const ends[] = {"stop",        "end of file", "half a message", "no message",   "guard killed",
                                   "port killed", "guard asked", "guard stopped",  "port stopped", "zygote stopped"};
enum end {
    STOP,
    END_OF_FILE,
    HALF_A_MESSAGE,
    NO_MESSAGE,
    GUARD_KILLED,
    PORT_KILLED,
    GUARD_ASKED,
    GUARD_STOPPED,
    PORT_STOPPED,
    ZYGOTE_STOPPED,
    ENDS
};

static void close_in(struct life *l) {
    close(l->in);
    l->in = -1;
}

static void end_by(struct life *l, enum end end) {
    static const uint8_t nonsense[] = {0, 0, 0, 1, 0xC1};
    struct pc_writer w;
    l->m.stopping = true;
    switch (end) {
    case ZYGOTE_STOPPED:
        send_numbers(l, "kill_zygote", 3, any_zygote(l), SIGSTOP);
        /* fall through */
    case STOP:
        send_numbers(l, "stop", 2, draw(l, 200), 0);
        break;
    case HALF_A_MESSAGE:
        message_begin(&w, 3, "kill");
        pc_write_int(&w, 1);
        pc_write_int(&w, SIGKILL);
        message_end(l, &w, 1 + draw(l, 9));
        close_in(l);
        break;
    case NO_MESSAGE:
        send_bytes(l, nonsense, sizeof nonsense);
        break;
    case GUARD_KILLED:
        kill(l->m.guard, SIGKILL);
        break;
    case PORT_KILLED:
        kill(l->m.port, SIGKILL);
        break;
    case GUARD_ASKED:
        kill(l->m.guard, SIGTERM);
        break;
    case PORT_STOPPED:
        kill(l->m.port, SIGSTOP);
        break;
    case GUARD_STOPPED:
        kill(l->m.guard, SIGSTOP);
        /* fall through */
    default:
        close_in(l);
    }
}

/* Whether it ended in order, so that the VM, if it is still there, knows everything. */
static bool check_status(struct life *l, enum end end, int guard, int port) {
    int expected = end == NO_MESSAGE ? 65 : 0;
    if (end == GUARD_KILLED) {
        race_check(&l->m,
                   WIFSIGNALED(guard) && WTERMSIG(guard) == SIGKILL && WIFEXITED(port) && WEXITSTATUS(port) == 0);
        return false;
    }
    race_check(&l->m, WIFEXITED(guard));
    if (end == PORT_KILLED || end == PORT_STOPPED) {
        race_check(&l->m, WEXITSTATUS(guard) == 128 + SIGKILL);
        return false;
    }
    /* The guard's patience is for a machine that is not busy with a sanitizer. */
    bool hurried = end == END_OF_FILE || end == HALF_A_MESSAGE || end == GUARD_ASKED || end == GUARD_STOPPED;
    race_check(&l->m, WEXITSTATUS(guard) == expected || (hurried && WEXITSTATUS(guard) == 128 + SIGKILL));
    return l->in >= 0 && WEXITSTATUS(guard) == expected;
}

static struct { unsigned workers, events, ends[ENDS]; } total;

static void live(unsigned seed, unsigned rounds) {
    static struct life life;
    struct life *l = &life;
    int guard = 0, port = 0;
    begin(l, seed);
    enum end end = (enum end)draw(l, ENDS);
    for (unsigned i = 0; i < rounds; i++) {
        play_round(l);
    }
    end_by(l, end);
    reap_all(l, &guard, &port);
    while (listen_to_port(l, 0)) {}
    if (check_status(l, end, guard, port)) {
        race_all_told(&l->m);
    }
    is_marked = false;
    (void)pc_os_each_process(look_for_mark, l->instance);
    race_check(&l->m, !is_marked);
    race_check(&l->m, access(l->dir, F_OK) < 0);
    total.workers += l->m.workers;
    total.events += l->m.events;
    total.ends[end]++;
    close_life(l);
}

static unsigned setting(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void test_lives(void **state) {
    (void)state;
    unsigned rounds = setting("PORT_RACES_ROUNDS", ROUNDS);
    unsigned seed = setting("PORT_RACES_SEED", (unsigned)time(NULL));
    for (unsigned done = 0; done < rounds; done += ROUNDS_OF_A_LIFE) {
        live(seed++, ROUNDS_OF_A_LIFE);
    }
    print_message("%u rounds, %u workers, %u events, and ends by", rounds, total.workers, total.events);
    for (size_t i = 0; i < ENDS; i++) {
        print_message("%s %s (%u)", i > 0 ? "," : "", ends[i], total.ends[i]);
    }
    print_message("\n");
}

int main(int argc, char **argv) {
    static const struct rlimit no_core = {0, 0};
    if (argc > 1 && strcmp(argv[1], "--zygote") == 0) {
        return race_zygote_main();
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lives)};
    signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    /* What guard and port leave becomes a child of this process. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
