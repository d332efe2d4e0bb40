/* A dial over HTTP/2 with memory that runs out at each allocation of the connector's in turn: the
 * connection is there and its control stream carries words both ways, or it says why not; nothing
 * is left over and nobody waits for ever. */
#include "failing.h"

#include "dial_lab.h"

static size_t fail_at;

static void edge_is_spared(bool is)
{
    memory.fail_at = is ? 0 : fail_at;
}

static int one(size_t *ret_calls, bool goes_on, void **state_)
{
    struct dial_lab l;
    long live = memory.live;
    memory.fail_at = 0;
    lab_open(&l);
    memory.calls = 0;
    memory.goes_on = goes_on;
    memory.fail_at = fail_at;
    int r = lab_run(&l);
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    size_t spared = fail_at;
    fail_at = 0; /* while it is taken down */
    lab_close(&l, state_);
    fail_at = spared;
    if (r == ERR_AGAIN)
        fail_msg("somebody waits in vain when allocation %zu failed%s", fail_at,
                 goes_on ? ", and all behind it" : "");
    if (memory.live != live)
        fail_msg("%ld blocks left when allocation %zu failed", memory.live - live, fail_at);
    return r;
}

TEST(a_dial_survives_the_failure_of_each_of_its_allocations)
{
    (void)creds_of(true);
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        unsigned failed = 0;
        for (fail_at = 1;; fail_at++) {
            size_t calls;
            int r = one(&calls, goes_on != 0, state_);
            failed += r < 0;
            if (calls >= fail_at)
                continue;
            CHECK_OK(r);
            CHECK(fail_at > 20); /* it is linked for this */
            break;
        }
        CHECK(failed > 5);
    }
}

TESTS(RUN(a_dial_survives_the_failure_of_each_of_its_allocations))
