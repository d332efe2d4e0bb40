/* A request from its visitor to its origin and back, with memory that runs out at each allocation
 * of the edge's, the connector's and the origin's in turn. Whatever fails, the visitor gets the
 * whole answer, a whole page that says so, or an answer that is visibly cut; nothing is left over
 * and nobody waits for ever. */
#include "base/log.h"
#include "failing.h"

#include "exchange_lab.h"

/* What failed, and whether the exchange was whole. */
static enum sight one(const struct exchange_case *c, size_t fail_at, bool goes_on,
                      size_t *ret_calls, void **state_)
{
    struct lab l;
    long live = memory.live;
    lab_open(&l, c);
    memory.calls = 0;
    memory.fail_at = fail_at;
    memory.goes_on = goes_on;
    int r = ask(&l);
    if (r == 0) {
        nsec end = clock_monotonic() + TURN_NSEC_MAX;
        while (!listen_on(&l) && clock_monotonic() < end)
            loop_turn(l.loop, 10);
        memory.fail_at = 0;
        if (l.end == ERR_AGAIN)
            fail_msg("%s: the visitor waits for ever when allocation %zu failed%s", c->name,
                     fail_at, goes_on ? ", and all behind it" : "");
    }
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    enum sight sight = judge(&l);
    lab_close(&l, state_);
    if (memory.live != live)
        fail_msg("%s: %ld blocks left when allocation %zu failed", c->name, memory.live - live,
                 fail_at);
    return sight;
}

TEST(an_exchange_survives_the_failure_of_each_of_its_allocations)
{
    size_t count;
    const struct exchange_case *cases = exchange_cases(&count);
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (size_t i = 0; i < count; i++)
        for (int goes_on = 0; goes_on < 2; goes_on++) {
            unsigned seen[4] = { 0 };
            for (size_t n = 1;; n++) {
                size_t calls;
                enum sight sight = one(&cases[i], n, goes_on != 0, &calls, state_);
                seen[sight]++;
                if (calls >= n)
                    continue;
                CHECK(sight == SIGHT_WHOLE);
                CHECK(n > 20); /* it is linked for this */
                break;
            }
            CHECK(seen[SIGHT_ERROR] > 0 || goes_on);
            CHECK(seen[SIGHT_NOTHING] + seen[SIGHT_CUT] > 0);
        }
}

TESTS(RUN(an_exchange_survives_the_failure_of_each_of_its_allocations))
