#include "base/pages.h"

#include <stdio.h>
#include <unistd.h>

#include "test.h"

static size_t resident_pages(void)
{
    size_t all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu %zu", &all, &resident), 2);
    (void)fclose(f);
    return resident;
}

TEST(code_that_is_forgotten_is_not_resident_and_still_runs)
{
    size_t before = resident_pages();
    pages_forget_code();
    size_t after = resident_pages();
    CHECK(after < before);
    /* What was forgotten runs again, as this very line shows. */
    pages_forget_code();
    CHECK(getpid() > 0);
}

TESTS(RUN(code_that_is_forgotten_is_not_resident_and_still_runs))
