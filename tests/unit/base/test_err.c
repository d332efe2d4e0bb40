#include "base/err.h"

#include <errno.h>
#include <limits.h>

#include "test.h"

TEST(an_errno_has_its_error)
{
    static const struct {
        int number, code;
    } ROWS[] = {
        { 0, 0 },
        { EAGAIN, ERR_AGAIN },
        { EINTR, ERR_AGAIN },
        { ENOMEM, ERR_NOMEM },
        { EMFILE, ERR_LIMIT },
        { EACCES, ERR_DENIED },
        { EPERM, ERR_DENIED },
        { ENOENT, ERR_NOTFOUND },
        { EEXIST, ERR_EXISTS },
        { EADDRINUSE, ERR_BUSY },
        { ECONNREFUSED, ERR_REFUSED },
        { ECONNRESET, ERR_RESET },
        { EPIPE, ERR_RESET },
        { EHOSTUNREACH, ERR_UNREACH },
        { ENETUNREACH, ERR_UNREACH },
        { ETIMEDOUT, ERR_TIMEOUT },
        { EMSGSIZE, ERR_TOOLARGE },
        { EAFNOSUPPORT, ERR_UNSUPPORTED },
        { EIO, ERR_IO },
        { ENOSPC, ERR_IO },
        { 99999, ERR_IO },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        CHECK_ERR(ROWS[i].code, err_from_errno(ROWS[i].number));
}

TEST(a_number_outside_the_table_is_unknown)
{
    static const int NUMBERS[] = { 1, 1000, INT_MAX, INT_MIN, INT_MIN + 1, -30, -1000 };
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        CHECK(strcmp(err_text(NUMBERS[i]), "unknown error") == 0);
        CHECK(strcmp(err_name(NUMBERS[i]), "unknown") == 0);
        CHECK(err_status(NUMBERS[i]) == 500 && err_h2_code(NUMBERS[i]) == 0x2);
        CHECK(!err_repeats(NUMBERS[i]));
    }
    CHECK(strcmp(err_name(0), "ok") == 0 && err_status(0) == 500 && !err_repeats(0));
}

/* The short names are a second list: each must be its row's name in lower case. */
TEST(every_name_stands_beside_its_own_code)
{
    static const struct {
        int code;
        const char *name;
    } ROWS[] = {
#define X(name, number, ...) { ERR_##name, #name },
        ERR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        const char *name = err_name(ROWS[i].code);
        CHECK(slice_eq_nocase(slice_str(name), slice_str(ROWS[i].name)));
        for (const char *c = name; *c != 0; c++)
            CHECK(*c >= 'a' && *c <= 'z');
    }
}

TEST(only_what_another_link_may_mend_is_repeated)
{
    CHECK(err_repeats(ERR_RESET) && err_repeats(ERR_TIMEOUT) && err_repeats(ERR_UNREACH));
    CHECK(!err_repeats(ERR_PROTO) && !err_repeats(ERR_CANCELED) && !err_repeats(ERR_NOROUTE));
    CHECK(err_status(ERR_NOLINK) == 530 && err_status(ERR_TIMEOUT) == 504);
    CHECK(err_h2_code(ERR_REFUSED) == 0xa && err_h2_code(ERR_CANCELED) == 0x8);
}

TESTS(RUN(an_errno_has_its_error), RUN(a_number_outside_the_table_is_unknown),
      RUN(every_name_stands_beside_its_own_code), RUN(only_what_another_link_may_mend_is_repeated))
