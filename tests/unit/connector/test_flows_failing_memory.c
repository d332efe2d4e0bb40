/* Flows of bytes with memory that runs out at each allocation of the connector's in turn: the edge
 * gets the whole answer, an error, or a stream that is visibly cut; the origin never takes a part
 * of the question for all of it; nothing is left over and nobody waits for ever. */
#include "failing.h"
#include "flow_lab.h"

static enum sight one(enum flow_kind kind, size_t fail_at, bool goes_on, size_t *ret_calls,
                      void **state_)
{
    struct flow_lab l;
    long live = memory.live;
    flow_open(&l, kind);
    memory.calls = 0;
    memory.fail_at = fail_at;
    memory.goes_on = goes_on;
    flow_run(&l);
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    if (l.end == ERR_AGAIN)
        fail_msg("%s: the edge waits for ever when allocation %zu failed%s", FLOW_NAMES[kind],
                 fail_at, goes_on ? ", and all behind it" : "");
    enum sight sight = flow_judge(&l);
    flow_close(&l, state_);
    if (memory.live != live)
        fail_msg("%s: %ld blocks left when allocation %zu failed", FLOW_NAMES[kind],
                 memory.live - live, fail_at);
    return sight;
}

static void sweep_flow(enum flow_kind kind, void **state_)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        unsigned seen[4] = { 0 };
        for (size_t n = 1;; n++) {
            size_t calls;
            enum sight sight = one(kind, n, goes_on != 0, &calls, state_);
            seen[sight]++;
            if (calls >= n)
                continue;
            CHECK(sight == SIGHT_WHOLE);
            CHECK(n > 10); /* it is linked for this */
            break;
        }
        CHECK(seen[SIGHT_NOTHING] + seen[SIGHT_CUT] > 0);
    }
}

TEST(a_flow_to_an_address_survives_the_failure_of_each_of_its_allocations)
{
    sweep_flow(FLOW_TCP, state_);
}

TEST(a_flow_behind_a_websocket_survives_the_failure_of_each_of_its_allocations)
{
    sweep_flow(FLOW_WS, state_);
}

TEST(a_flow_with_a_dialogue_survives_the_failure_of_each_of_its_allocations)
{
    sweep_flow(FLOW_SOCKS, state_);
}

TEST(a_flow_that_its_visitor_closes_survives_the_failure_of_each_of_its_allocations)
{
    sweep_flow(FLOW_CLOSE, state_);
}

TESTS(RUN(a_flow_to_an_address_survives_the_failure_of_each_of_its_allocations),
      RUN(a_flow_behind_a_websocket_survives_the_failure_of_each_of_its_allocations),
      RUN(a_flow_with_a_dialogue_survives_the_failure_of_each_of_its_allocations),
      RUN(a_flow_that_its_visitor_closes_survives_the_failure_of_each_of_its_allocations))
