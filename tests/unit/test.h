#pragma once
/* What every unit test includes: cmocka behind two macros. Names are sentences:
 *
 *     TEST(pump_stops_reading_when_sink_is_full) { … CHECK(x == 4); CHECK_OK(call()); }
 *     TESTS(RUN(pump_stops_reading_when_sink_is_full))
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/slice.h"

#define TEST(name) static void name(void **state_)
#define RUN(name)  cmocka_unit_test(name)
#define TESTS(...)                                                                                 \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = { __VA_ARGS__ };                                         \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }
#define CHECK(expression)                                                                          \
    do {                                                                                           \
        (void)state_;                                                                              \
        assert_true(expression);                                                                   \
    } while (0)
#define CHECK_OK(call) CHECK_ERR(0, call)
#define CHECK_ERR(want, call)                                                                      \
    do {                                                                                           \
        int got_ = (call);                                                                         \
        (void)state_;                                                                              \
        if (got_ != (want))                                                                        \
            fail_msg("%s: got %d (%s), want %d (%s)", #call, got_, err_text(got_), (want),         \
                     err_text(want));                                                              \
    } while (0)
#define CHECK_SLICE(got, want)                                                                     \
    do {                                                                                           \
        struct slice g_ = (got), w_ = (want);                                                      \
        (void)state_;                                                                              \
        if (!slice_eq(g_, w_))                                                                     \
            fail_msg("got \"%.*s\", want \"%.*s\"", SLICE_FMT(g_), SLICE_FMT(w_));                 \
    } while (0)
