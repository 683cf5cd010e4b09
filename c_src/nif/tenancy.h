#ifndef PC_NIF_TENANCY_H
#define PC_NIF_TENANCY_H

/* A session in the VM: wire/tenant.h as a resource. Whoever has the term may use it; its process and the pool's see to its end. */

#include <erl_nif.h>

#include "nif/lane.h"
#include "wire/tenant.h"

struct pc_tenancy {
    struct pc_tenant tenant;
    struct pc_dispatcher *dispatcher; /* kept */
};

int pc_tenancy_load(ErlNifEnv *env, ErlNifResourceFlags flags);
bool pc_tenancy_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_tenancy **tenancy);

#endif
