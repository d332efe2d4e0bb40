/* A request from its visitor to its origin and back, where each reading and each writing in turn is
 * put off, takes a single byte, or finds the connection reset: at the visitor's connection, at both
 * ends of the tunnel, at the origin's. */
#include "base/log.h"
#include "exchange_lab.h"

static enum sight one(const struct exchange_case *c, enum trouble kind, size_t fail_at,
                      size_t *ret_calls, void **state_)
{
    struct lab l;
    trouble.calls = 0;
    trouble.fail_at = fail_at;
    trouble.kind = kind;
    lab_open(&l, c);
    CHECK_OK(ask(&l));
    nsec end = clock_monotonic() + TURN_NSEC_MAX;
    while (!listen_on(&l) && clock_monotonic() < end)
        loop_turn(l.loop, 10);
    if (l.end == ERR_AGAIN)
        fail_msg("%s: the visitor waits for ever after trouble %d at operation %zu", c->name,
                 (int)kind, fail_at);
    *ret_calls = trouble.calls;
    enum sight sight = judge(&l);
    lab_close(&l, state_);
    trouble.fail_at = 0;
    return sight;
}

/* Until the nth operation is one that no longer comes. Returns how many there were. */
static size_t sweep_streams(const struct exchange_case *c, enum trouble kind, unsigned seen[4],
                            void **state_)
{
    for (size_t n = 1;; n++) {
        size_t calls;
        enum sight sight = one(c, kind, n, &calls, state_);
        seen[sight]++;
        if (kind != TROUBLE_RESET && sight != SIGHT_WHOLE)
            fail_msg("%s: not whole after trouble %d at operation %zu", c->name, (int)kind, n);
        if (calls >= n)
            continue;
        CHECK(sight == SIGHT_WHOLE);
        return n - 1;
    }
}

static void sweep_all(enum trouble kind, unsigned seen[4], void **state_)
{
    size_t count;
    const struct exchange_case *cases = exchange_cases(&count);
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    for (size_t i = 0; i < count; i++)
        CHECK(sweep_streams(&cases[i], kind, seen, state_) > 10);
}

TEST(an_operation_that_is_put_off_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_all(TROUBLE_AGAIN, seen, state_);
}

TEST(an_operation_that_moves_a_single_byte_changes_nothing)
{
    unsigned seen[4] = { 0 };
    sweep_all(TROUBLE_SHORT, seen, state_);
}

TEST(a_connection_that_is_reset_anywhere_is_an_error_or_a_cut_but_never_a_whole_answer_that_is_not)
{
    unsigned seen[4] = { 0 };
    sweep_all(TROUBLE_RESET, seen, state_);
    CHECK(seen[SIGHT_ERROR] > 0);
    CHECK(seen[SIGHT_CUT] > 0);
    CHECK(seen[SIGHT_NOTHING] > 0);
}

TESTS(
    RUN(an_operation_that_is_put_off_changes_nothing),
    RUN(an_operation_that_moves_a_single_byte_changes_nothing),
    RUN(a_connection_that_is_reset_anywhere_is_an_error_or_a_cut_but_never_a_whole_answer_that_is_not))
