/* Configurations from the edge with memory that runs out at each allocation of the connector's: the
 * edge hears of each that is in force, in order, or the stream ends; nobody waits, nothing is left
 * over, and the supervisor's answers find their way or nobody. */
#include "failing.h"

#include "rpc_lab.h"

static int32_t one(size_t fail_at, bool goes_on, size_t *ret_calls, void **state_)
{
    struct rpc_lab l;
    long live = memory.live;
    rpc_lab_open(&l);
    memory.calls = 0;
    memory.fail_at = fail_at;
    memory.goes_on = goes_on;
    rpc_lab_run(&l);
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    if (l.end == ERR_AGAIN)
        fail_msg("the edge waits when allocation %zu failed%s", fail_at,
                 goes_on ? ", and all behind it" : "");
    int32_t answers = rpc_lab_answers(&l);
    rpc_lab_close(&l, state_);
    if (memory.live != live)
        fail_msg("%ld blocks left when allocation %zu failed", memory.live - live, fail_at);
    return answers;
}

TEST(configurations_of_the_edge_survive_the_failure_of_each_allocation)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        unsigned short_ones = 0;
        for (size_t n = 1;; n++) {
            size_t calls;
            int32_t answers = one(n, goes_on != 0, &calls, state_);
            short_ones += answers < RPC_CALLS;
            if (calls >= n)
                continue;
            CHECK(answers == RPC_CALLS);
            CHECK(n > 8); /* it is linked for this */
            break;
        }
        CHECK(short_ones > 3);
    }
}

TESTS(RUN(configurations_of_the_edge_survive_the_failure_of_each_allocation))
