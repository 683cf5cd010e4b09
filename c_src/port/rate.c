/* A bucket that leaks: `spent` shrinks with time, and never passes the burst. */

#include "rate.h"

bool pc_rate_allows(struct pc_rate *r, int64_t now_ms, uint64_t cost) {
    uint64_t passed = r->at != 0 && now_ms > r->at ? (uint64_t)(now_ms - r->at) : 0;
    /* Long before the product could overflow everything has leaked. */
    uint64_t leaked = passed > UINT32_MAX ? PC_RATE_BURST : passed * PC_RATE_PER_SECOND / 1000;
    if (leaked > 0 || r->at == 0) {
        r->at = now_ms;
        r->spent = leaked < r->spent ? r->spent - leaked : 0;
    }
    if (cost > PC_RATE_BURST - r->spent) {
        return false;
    }
    r->spent += cost;
    return true;
}
