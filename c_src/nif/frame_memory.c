/* See frame_memory.h. What is in it is for one taker; without one it is freed, and what it speaks of in shared memory is free again. */
#include "nif/frame_memory.h"

#include <stdlib.h>
#include <string.h>

#include "nif/buffers.h"
#include "nif/channel.h"
#include "wire/dispatch.h"

struct frame_memory {
    uint8_t *data; /* of malloc's, or NULL */
    size_t n;
    size_t apart;
    struct pc_channel *of; /* a handle of its own, or NULL */
};

static ErlNifResourceType *frame_type;

static void frame_dtor(ErlNifEnv *env, void *object) {
    (void)env;
    struct frame_memory *memory = object;
    if (memory->of != NULL) {
        pc_buffers_cancel(memory->of->buffers, memory->data, memory->n);
        enif_release_resource(memory->of);
    }
    free(memory->data);
}

int pc_frame_memory_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = frame_dtor, .members = 1};
    frame_type = enif_init_resource_type(env, "pitcrew_frame", &init, flags, NULL);
    return frame_type == NULL ? -1 : 0;
}

/* The handle is the caller's to release. NULL when out of memory. */
static struct frame_memory *make_memory(uint8_t *data, size_t n) {
    struct frame_memory *memory = enif_alloc_resource(frame_type, sizeof *memory);
    if (memory != NULL) {
        *memory = (struct frame_memory){.data = data, .n = n};
    }
    return memory;
}

bool pc_frame_memory_schedule(ErlNifEnv *env, const char *name,
                              ERL_NIF_TERM (*fun)(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]), int argc,
                              const ERL_NIF_TERM argv[], const struct pc_body *body, struct pc_channel *of,
                              ERL_NIF_TERM *next) {
    struct frame_memory *memory = make_memory(body->data, body->n);
    ERL_NIF_TERM args[PC_FRAME_MEMORY_ARGS + 1];
    if (memory == NULL) {
        if (of != NULL) {
            pc_buffers_cancel(of->buffers, body->data, body->n);
        }
        free(body->data);
        return false;
    }
    if (of != NULL) {
        memory->apart = body->apart;
        memory->of = of;
        enif_keep_resource(of);
    }
    memcpy(args, argv, (size_t)argc * sizeof args[0]);
    args[argc] = enif_make_resource(env, memory);
    enif_release_resource(memory);
    *next = enif_schedule_nif(env, name, 0, fun, argc + 1, args);
    return true;
}

bool pc_frame_memory_body(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_body *body, struct pc_channel **of) {
    struct frame_memory *memory;
    if (!enif_get_resource(env, term, frame_type, (void **)&memory)) {
        return false;
    }
    *body = (struct pc_body){.data = memory->data, .n = memory->n, .owned = true, .apart = memory->apart};
    *of = memory->of;
    memory->data = NULL;
    memory->of = NULL;
    return true;
}

ERL_NIF_TERM pc_frame_memory_take(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f) {
    struct frame_memory *memory = make_memory(NULL, 0);
    ERL_NIF_TERM binary = 0;
    if (memory == NULL) {
        return 0;
    }
    if (pc_inbox_take(in, &memory->data)) {
        binary = enif_make_resource_binary(env, memory, f->payload, f->n);
    }
    enif_release_resource(memory);
    return binary;
}
