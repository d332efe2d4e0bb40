/* A registration and its refusals with memory that runs out at each allocation of the connector's,
 * the session's and the other workers': the connector is registered, refused with the plane's or
 * the edge's own reason, or loses its control stream; nobody waits, and nothing is left over. */
#include "failing.h"

#include "control_lab.h"

static enum outcome one(enum plane_answer answer, size_t fail_at, bool goes_on, size_t *ret_calls,
                        void **state_)
{
    struct control_lab l;
    long live = memory.live;
    control_open(&l, answer);
    memory.calls = 0;
    memory.fail_at = fail_at;
    memory.goes_on = goes_on;
    control_go(&l);
    memory.fail_at = 0;
    *ret_calls = memory.calls;
    if (l.client.registered == CONTROL_PENDING && !l.is_over)
        fail_msg("plane %d: the connector waits when allocation %zu failed%s", (int)answer, fail_at,
                 goes_on ? ", and all behind it" : "");
    enum outcome outcome = control_judge(&l);
    control_close(&l, state_);
    if (memory.live != live)
        fail_msg("plane %d: %ld blocks left when allocation %zu failed", (int)answer,
                 memory.live - live, fail_at);
    return outcome;
}

TEST(a_registration_survives_the_failure_of_each_of_its_allocations)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (int answer = 0; answer < PLANE_ANSWERS; answer++)
        for (int goes_on = 0; goes_on < 2; goes_on++) {
            unsigned seen[4] = { 0 };
            for (size_t n = 1;; n++) {
                size_t calls;
                enum outcome outcome =
                    one((enum plane_answer)answer, n, goes_on != 0, &calls, state_);
                seen[outcome]++;
                if (calls >= n)
                    continue;
                CHECK(outcome == whole_outcome((enum plane_answer)answer));
                CHECK(n > 10); /* it is linked for this */
                break;
            }
            CHECK(seen[OUTCOME_LOST] > 0);
            CHECK(seen[OUTCOME_SHORT] > 0 || goes_on);
        }
}

TESTS(RUN(a_registration_survives_the_failure_of_each_of_its_allocations))
