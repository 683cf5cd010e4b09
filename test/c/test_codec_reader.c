/* codec/reader.c: tokens, skipping, and input that lies about its lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/reader.h"
#include "codec_vectors.h"

/* Reads tokens until the end or a failure; each one must lie inside the input, and a failure must not move. */
static enum pc_status walk(const uint8_t *bytes, size_t n) {
    struct pc_reader r;
    struct pc_token t;
    enum pc_status status = PC_OK;
    pc_reader_init(&r, bytes, n);
    while (status == PC_OK && pc_reader_left(&r) > 0) {
        const uint8_t *before = r.p;
        status = pc_reader_next(&r, &t);
        if (status != PC_OK) {
            assert_ptr_equal(r.p, before);
            assert_true(status == PC_TRUNCATED || status == PC_INVALID);
            break;
        }
        assert_true(r.p > before && r.p <= bytes + n);
        if (t.type == PC_STR || t.type == PC_BIN || t.type == PC_EXT) {
            assert_true(t.data >= bytes && t.data + t.len == r.p);
            (void)pc_utf8_valid(t.data, t.len);
        } else if (t.type == PC_ARRAY) {
            assert_true(t.len <= pc_reader_left(&r));
        } else if (t.type == PC_MAP) {
            assert_true(2 * (size_t)t.len <= pc_reader_left(&r));
        }
    }
    return status;
}

static enum pc_status skip_one(const uint8_t *bytes, size_t n, size_t *left) {
    struct pc_reader r;
    pc_reader_init(&r, bytes, n);
    enum pc_status status = pc_reader_skip(&r);
    *left = pc_reader_left(&r);
    assert_true(status == PC_OK || *left == n);
    return status;
}

static void is_whole(const struct vector *v, void *arg) {
    (void)arg;
    size_t left;
    assert_int_equal(walk(v->bytes, v->n), PC_OK);
    assert_int_equal(skip_one(v->bytes, v->n, &left), PC_OK);
    assert_int_equal(left, 0);
}

/* A value that was cut anywhere is truncated, and says so. */
static void is_truncated_at_every_byte(const struct vector *v, void *arg) {
    (void)arg;
    for (size_t n = 0; n < v->n; n++) {
        uint8_t *cut = malloc(n != 0 ? n : 1);
        size_t left;
        memcpy(cut, v->bytes, n);
        (void)walk(cut, n);
        assert_int_equal(skip_one(cut, n, &left), PC_TRUNCATED);
        free(cut);
    }
}

/* What a changed byte means is open; that nothing is read out of bounds is not. walk() and the sanitizer look. */
static void survives_every_changed_byte(const struct vector *v, void *arg) {
    (void)arg;
    for (size_t i = 0; i < v->n; i++) {
        uint8_t was = v->bytes[i];
        for (unsigned change = 1; change < 256; change++) {
            size_t left;
            v->bytes[i] = (uint8_t)(was ^ change);
            (void)walk(v->bytes, v->n);
            (void)skip_one(v->bytes, v->n, &left);
        }
        v->bytes[i] = was;
    }
}

/* Rules of payloads are not the token reader's: those vectors must only be safe to walk. */
static void is_refused(const struct vector *v, void *arg) {
    size_t *seen = arg;
    size_t left;
    (void)walk(v->bytes, v->n);
    enum pc_status status = skip_one(v->bytes, v->n, &left);
    bool in_payload = strncmp(v->name, "tuple", 5) == 0;
    if (strcmp(v->third, "truncated") == 0 && !in_payload) {
        assert_int_equal(status, PC_TRUNCATED);
        (*seen)++;
    } else if (strncmp(v->name, "unused", 6) == 0) {
        assert_int_equal(status, PC_INVALID);
        (*seen)++;
    }
}

static void reads_the_vectors(void **state) {
    (void)state;
    assert_in_range(vectors_run("codec_both.tsv", is_whole, NULL), 50, 1000);
    assert_in_range(vectors_run("codec_read.tsv", is_whole, NULL), 30, 1000);
    assert_in_range(vectors_run("codec_types.tsv", is_whole, NULL), 50, 1000);
}

static void finds_every_cut(void **state) {
    (void)state;
    (void)vectors_run("codec_both.tsv", is_truncated_at_every_byte, NULL);
    (void)vectors_run("codec_read.tsv", is_truncated_at_every_byte, NULL);
    (void)vectors_run("codec_types.tsv", is_truncated_at_every_byte, NULL);
}

static void stays_inside_with_every_byte_changed(void **state) {
    (void)state;
    (void)vectors_run("codec_both.tsv", survives_every_changed_byte, NULL);
    (void)vectors_run("codec_read.tsv", survives_every_changed_byte, NULL);
    (void)vectors_run("codec_types.tsv", survives_every_changed_byte, NULL);
    (void)vectors_run("codec_bad.tsv", survives_every_changed_byte, NULL);
}

static void refuses_bad_vectors(void **state) {
    (void)state;
    size_t seen = 0;
    (void)vectors_run("codec_bad.tsv", is_refused, &seen);
    assert_in_range(seen, 30, 1000);
}

static void survives_three_byte_inputs(void **state) {
    (void)state;
    uint8_t *bytes = malloc(3);
    for (uint32_t i = 0; i < 1 << 24; i += 5) {
        size_t left;
        bytes[0] = (uint8_t)(i >> 16);
        bytes[1] = (uint8_t)(i >> 8);
        bytes[2] = (uint8_t)i;
        (void)walk(bytes, 3);
        (void)skip_one(bytes, 3, &left);
    }
    free(bytes);
}

static struct pc_token token_of(const char *bytes, size_t n) {
    struct pc_reader r;
    struct pc_token t;
    pc_reader_init(&r, bytes, n);
    assert_int_equal(pc_reader_next(&r, &t), PC_OK);
    assert_int_equal(pc_reader_left(&r), 0);
    return t;
}

static void reads_scalars(void **state) {
    (void)state;
    assert_int_equal(token_of("\xc0", 1).type, PC_NIL);
    assert_true(token_of("\xc3", 1).b);
    assert_false(token_of("\xc2", 1).b);
    assert_int_equal(token_of("\x7f", 1).i, 127);
    assert_int_equal(token_of("\xe0", 1).i, -32);
    assert_int_equal(token_of("\xd0\x80", 2).i, -128);
    assert_int_equal(token_of("\xd1\x80\x00", 3).i, INT16_MIN);
    assert_int_equal(token_of("\xd2\x80\x00\x00\x00", 5).i, INT32_MIN);
    assert_true(token_of("\xd3\x80\0\0\0\0\0\0\0", 9).i == INT64_MIN);
    struct pc_token t = token_of("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9);
    assert_true(t.type == PC_INT && t.i == INT64_MAX);
    t = token_of("\xcf\x80\0\0\0\0\0\0\0", 9);
    assert_true(t.type == PC_UINT && t.u == (uint64_t)1 << 63);
    assert_true(token_of("\xca\xbf\xc0\0\0", 5).f < -1.4);
    assert_true(token_of("\xcb\x3f\xf8\0\0\0\0\0\0", 9).f > 1.4);
}

static void skips_one_value_only(void **state) {
    (void)state;
    size_t left;
    assert_int_equal(skip_one((const uint8_t *)"\x92\x81\x01\x02\x90\xc0", 6, &left), PC_OK);
    assert_int_equal(left, 1);
}

static void skips_any_depth(void **state) {
    (void)state;
    size_t n = 1 << 20;
    uint8_t *bytes = malloc(n);
    size_t left;
    memset(bytes, 0x91, n);
    bytes[n - 1] = 0xc0;
    assert_int_equal(skip_one(bytes, n, &left), PC_OK);
    bytes[n - 1] = 0x91;
    assert_int_equal(skip_one(bytes, n, &left), PC_TRUNCATED);
    free(bytes);
}

static void reads_frame_lengths(void **state) {
    (void)state;
    assert_int_equal(pc_frame_length((const uint8_t *)"\x01\x02\x03\x04"), 0x01020304);
    assert_int_equal(pc_frame_length((const uint8_t *)"\xff\xff\xff\xff"), UINT32_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_vectors),
        cmocka_unit_test(finds_every_cut),
        cmocka_unit_test(stays_inside_with_every_byte_changed),
        cmocka_unit_test(refuses_bad_vectors),
        cmocka_unit_test(survives_three_byte_inputs),
        cmocka_unit_test(reads_scalars),
        cmocka_unit_test(skips_one_value_only),
        cmocka_unit_test(skips_any_depth),
        cmocka_unit_test(reads_frame_lengths),
    };
    return cmocka_run_group_tests_name("codec/reader", tests, NULL, NULL);
}
