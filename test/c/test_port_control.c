/* c_src/port/control.c: what is not a message of the protocol is refused wherever it is cut, and changes nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/writer.h"
#include "port/control.h"

/* A port that is stopping starts nothing and forks nothing, so any message may be tried on it. */
static struct pc_port *port_new(void) {
    struct pc_port *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->instance = "test";
    p->phase = PC_STOPPING;
    p->deadline = INT64_MAX;
    pc_output_init(&p->output, -1);
    return p;
}

static void port_free(struct pc_port *p) {
    while (p->zygotes != NULL) {
        struct pc_zygote *z = p->zygotes;
        p->zygotes = z->next;
        free(z->program);
        free(z->cd);
        free(z);
    }
    assert_null(p->workers);
    pc_output_destroy(&p->output);
    free(p);
}

static void write_message(struct pc_writer *w, int which) {
    switch (which) {
    case 0:
        pc_write_array(w, 5);
        pc_write_cstr(w, "zygote");
        pc_write_uint(w, 1);
        pc_write_array(w, 2);
        pc_write_cstr(w, "python3");
        pc_write_bin(w, "-m", 2);
        pc_write_map(w, 2);
        pc_write_cstr(w, "A");
        pc_write_cstr(w, "value");
        pc_write_cstr(w, "PATH");
        pc_write_nil(w);
        pc_write_cstr(w, "/tmp");
        break;
    case 1:
        pc_write_array(w, 4);
        pc_write_cstr(w, "fork");
        pc_write_uint(w, 1);
        pc_write_uint(w, 300);
        pc_write_bin(w, "payload", 7);
        break;
    case 2:
    case 3:
        pc_write_array(w, 3);
        pc_write_cstr(w, which == 2 ? "kill" : "kill_zygote");
        pc_write_uint(w, 1);
        pc_write_int(w, 9);
        break;
    case 4:
        pc_write_array(w, 2);
        pc_write_cstr(w, "credit");
        pc_write_uint(w, UINT64_MAX);
        break;
    case 5:
        pc_write_array(w, 2);
        pc_write_cstr(w, "vitals");
        pc_write_uint(w, 1);
        break;
    default:
        pc_write_array(w, 2);
        pc_write_cstr(w, "stop");
        pc_write_uint(w, UINT32_MAX);
        break;
    }
}

enum { MESSAGES = 7 };

/* From memory of its own size, so that a sanitizer sees a read past the end. */
static bool handle(struct pc_port *p, const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    bool ok = pc_control_handle(p, copy, n);
    free(copy);
    return ok;
}

static void test_cut_anywhere(void **state) {
    (void)state;
    for (int which = 0; which < MESSAGES; which++) {
        struct pc_writer w;
        struct pc_port *p = port_new();
        pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
        write_message(&w, which);
        for (size_t n = 0; n < w.len; n++) {
            assert_false(handle(p, w.data, n));
            assert_null(p->zygotes);
            assert_int_equal(p->output.queue.len, 0);
            assert_int_equal(p->output.credit, 0);
        }
        assert_true(handle(p, w.data, w.len));
        free(w.data);
        port_free(p);
    }
}

/* Every byte replaced by every other: never a crash, whatever it means then. */
static void test_any_byte(void **state) {
    (void)state;
    for (int which = 0; which < MESSAGES; which++) {
        struct pc_writer w;
        pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
        write_message(&w, which);
        for (size_t at = 0; at < w.len; at++) {
            uint8_t before = w.data[at];
            struct pc_port *p = port_new();
            for (int byte = 0; byte < 256; byte++) {
                w.data[at] = (uint8_t)byte;
                handle(p, w.data, w.len);
            }
            w.data[at] = before;
            port_free(p);
        }
        free(w.data);
    }
}

static void test_later_fields_are_ignored(void **state) {
    (void)state;
    struct pc_port *p = port_new();
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    pc_write_array(&w, 3);
    pc_write_cstr(&w, "credit");
    pc_write_uint(&w, 12);
    pc_write_cstr(&w, "a field of a later version");
    assert_true(handle(p, w.data, w.len));
    assert_int_equal(p->output.credit, 12);
    free(w.data);
    port_free(p);
}

static void test_stop_only_shortens(void **state) {
    (void)state;
    struct pc_port *p = port_new();
    pc_port_stop(p, 1000, 0, NULL);
    int64_t deadline = p->deadline;
    pc_port_stop(p, 5000, 3, "first");
    assert_true(p->deadline == deadline);
    pc_port_stop(p, 10, 4, "second");
    assert_true(p->deadline < deadline);
    assert_int_equal(p->status, 3);
    assert_string_equal(p->fault, "first");
    port_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_later_fields_are_ignored),
        cmocka_unit_test(test_stop_only_shortens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
