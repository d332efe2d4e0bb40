#include "base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/clock.h"

#include "test.h"

/* What is logged while `fd` is in place comes back as text. */
struct sink {
    int fds[2];
    char text[65536];
};

static void sink_open(struct sink *s, enum log_level level, enum log_format format)
{
    assert_int_equal(pipe2(s->fds, O_CLOEXEC | O_NONBLOCK), 0);
    log_setup(level, format, s->fds[1]);
}

static char *sink_text(struct sink *s)
{
    ssize_t n = read(s->fds[0], s->text, sizeof s->text - 1);
    s->text[n > 0 ? n : 0] = 0;
    return s->text;
}

static void sink_close(struct sink *s)
{
    log_setup(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
    (void)close(s->fds[0]);
    (void)close(s->fds[1]);
}

/* The line without its time. */
static const char *after_time(const char *line)
{
    const char *at = strchr(line, ' ');
    assert_non_null(at);
    return at + 1;
}

TEST(a_line_has_its_time_level_event_and_fields)
{
    struct sink s;
    sink_open(&s, LOG_INFO, LOG_LOGFMT);
    log_info("it happened", LSTR("plain", "abc/1.2:3"), LSTR("spaced", "a b"), LSTR("empty", ""),
             LSTR("none", NULL), LI64("minus", -5), LU64("huge", UINT64_MAX), LBOOL("yes", true),
             LBOOL("no", false), LERR(ERR_TIMEOUT), LSLICE("part", slice_of("abc", 2)));
    const char *line = sink_text(&s);
    CHECK(strncmp(line, "time=20", 7) == 0);
    CHECK_SLICE(slice_str(after_time(line)),
                SLICE("level=info msg=\"it happened\" plain=abc/1.2:3 spaced=\"a b\" empty=\"\" "
                      "none=\"\" minus=-5 huge=18446744073709551615 yes=true no=false "
                      "error=\"timed out\" part=ab\n"));
    sink_close(&s);
}

TEST(below_the_level_nothing_is_written)
{
    struct sink s;
    sink_open(&s, LOG_WARN, LOG_LOGFMT);
    log_info("quiet");
    log_debug("quiet too");
    CHECK(!log_is_on(LOG_INFO) && log_is_on(LOG_WARN) && log_is_on(LOG_ERROR));
    CHECK(sink_text(&s)[0] == 0);
    log_warn("heard");
    CHECK(strstr(sink_text(&s), "level=warn msg=\"heard\"") != NULL);
    log_setup(LOG_OFF, LOG_LOGFMT, s.fds[1]);
    log_error("off is off");
    struct log_site site = { 0 };
    log_event(&site, LOG_OFF, "off is no level of a line", NULL, 0);
    CHECK(sink_text(&s)[0] == 0);
    sink_close(&s);
}

/* A value with everything that could break out of it. */
static const char HOSTILE[] = "\"\\\n\r\t\x1b[31m\x7f level=error msg=forged "
                              "\xc2\x9b"     /* CSI of the second set of controls */
                              "\xe2\x80\xae" /* turns the text around */
                              "\xe2\x80\xa8" /* a line separator */
                              "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";

TEST(a_peer_cannot_forge_a_line)
{
    struct sink s;
    sink_open(&s, LOG_INFO, LOG_LOGFMT);
    log_info("hostile", LSTR("value", HOSTILE), LSLICE("bytes", slice_of("\xff\x00\x80", 3)));
    const char *line = sink_text(&s);
    CHECK(strchr(line, '\n') == line + strlen(line) - 1);
    for (const char *c = line; *c != '\n'; c++)
        CHECK((uint8_t)*c >= 0x20 && (uint8_t)*c != 0x7f);
    CHECK(strstr(line,
                 "value=\"\\\"\\\\\\u000a\\u000d\\u0009\\u001b[31m\\u007f level=error "
                 "msg=forged \\u009b\\u202e\\u2028\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"") != NULL);
    CHECK(strstr(line, " bytes=\"\\u00ff\\u0000\\u0080\"\n") != NULL);
    sink_close(&s);
}

TEST(a_line_of_json_reads_back)
{
    struct sink s;
    json_error_t error;
    sink_open(&s, LOG_TRACE, LOG_JSON);
    log_trace("json", LSTR("value", HOSTILE), LSLICE("bytes", slice_of("\xff\x80", 2)),
              LI64("n", -1), LBOOL("b", true));
    json_t *line = json_loads(sink_text(&s), 0, &error);
    CHECK(line != NULL);
    CHECK(strcmp(json_string_value(json_object_get(line, "value")), HOSTILE) == 0);
    CHECK(strcmp(json_string_value(json_object_get(line, "bytes")), "\xc3\xbf\xc2\x80") == 0);
    CHECK(strcmp(json_string_value(json_object_get(line, "message")), "json") == 0);
    CHECK(strcmp(json_string_value(json_object_get(line, "level")), "trace") == 0);
    CHECK(json_integer_value(json_object_get(line, "n")) == -1);
    CHECK(json_is_true(json_object_get(line, "b")));
    CHECK(json_object_get(line, "cut") == NULL);
    json_decref(line);
    sink_close(&s);
}

/* Whatever the values are, a line is whole: what does not fit is left out and said. */
TEST(long_values_never_break_a_line)
{
    static char value[8192];
    struct sink s;
    sink_open(&s, LOG_TRACE, LOG_JSON);
    static const char *const PIECES[] = { "x", "\x01", "\"", "\xf0\x9f\x98\x80", "\xff" };
    for (size_t piece = 0; piece < 5; piece++) {
        size_t n = strlen(PIECES[piece]);
        for (size_t shift = 0; shift < 9; shift++) {
            json_error_t error;
            memset(value, 'y', shift);
            for (size_t at = shift; at + n <= sizeof value; at += n)
                memcpy(value + at, PIECES[piece], n);
            struct slice v = slice_of(value, shift + (sizeof value - shift) / n * n);
            log_trace("long", LSLICE("a", v), LSLICE("b", v), LSLICE("c", v), LSLICE("d", v),
                      LSLICE("e", v), LU64("after", 1));
            char *text = sink_text(&s);
            CHECK(strlen(text) <= 4096 && strchr(text, '\n') == text + strlen(text) - 1);
            json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
            if (line == NULL)
                fail_msg("%s in %s", error.text, text);
            CHECK(json_is_true(json_object_get(line, "cut")));
            CHECK(json_object_get(line, "a") != NULL && json_object_get(line, "e") == NULL);
            CHECK(json_object_get(line, "after") == NULL);
            json_decref(line);
        }
    }
    sink_close(&s);
}

/* The sum of what lines say that was held back before them. */
static size_t held_in(const char *text)
{
    size_t sum = 0;
    for (const char *at = text; (at = strstr(at, "repeats_held_back=")) != NULL; at++)
        sum += strtoul(at + strlen("repeats_held_back="), NULL, 10);
    return sum;
}

/* Logs from one place until a second is over in which some were held back. Returns how many lines
 * came, of which every one but those that were held back, whose number the last line told. */
static size_t flood(struct sink *s, enum log_level level)
{
    size_t lines = 0, held = 0;
    for (int i = 0; held == 0 && i < 100000000; i++) {
        LOG_AT(level, "again and again");
        char *text = sink_text(s);
        lines += text[0] != 0;
        held = held_in(text);
        if (held > 0)
            assert_int_equal(held + lines, i + 1);
    }
    assert_true(held > 0);
    return lines;
}

TEST(repeats_are_held_back_and_counted)
{
    struct sink s;
    sink_open(&s, LOG_DEBUG, LOG_LOGFMT);
    size_t lines = flood(&s, LOG_INFO);
    CHECK(lines > 20 && lines <= 2 * 20 + 1);
    lines = flood(&s, LOG_ERROR); /* more of what someone must act upon, but not without an end */
    CHECK(lines >= 100 && lines <= 2 * 100 + 1);
    for (int i = 0; i < 1000; i++) { /* what is asked for is wanted whole */
        log_debug("no debug line is lost");
        CHECK(sink_text(&s)[0] != 0);
    }
    sink_close(&s);
}

static size_t lines_in(const char *text)
{
    size_t n = 0;
    for (; *text != 0; text++)
        n += *text == '\n';
    return n;
}

/* From one place, more than may pass in two seconds. */
static void say_often(void)
{
    for (int i = 0; i < 50; i++)
        log_warn("often", LU64("number", i));
}

TEST(what_was_held_back_is_told_when_its_second_is_over)
{
    struct sink s;
    sink_open(&s, LOG_INFO, LOG_LOGFMT);
    log_settle(true);
    (void)sink_text(&s);
    CHECK(!log_is_holding());
    say_often();
    size_t said = lines_in(sink_text(&s)), held = held_in(s.text);
    CHECK(log_is_holding() && said < 50);
    char *text = sink_text(&s);
    for (int64_t end = clock_wall_us() + 30000000; *text == 0 && clock_wall_us() < end;) {
        log_settle(false);
        text = sink_text(&s);
    }
    CHECK(slice_starts(slice_str(after_time(text)),
                       SLICE("level=warn msg=\"often\" repeats_held_back=")));
    CHECK(said + held + held_in(text) == 50 && lines_in(text) == 1);
    CHECK(!log_is_holding());
    log_settle(false);
    CHECK(sink_text(&s)[0] == 0);
    sink_close(&s);
}

TEST(what_was_held_back_is_told_at_the_end_whatever_the_second)
{
    struct sink s;
    sink_open(&s, LOG_INFO, LOG_LOGFMT);
    log_settle(true);
    (void)sink_text(&s);
    say_often();
    (void)sink_text(&s);
    size_t said = lines_in(s.text), held = held_in(s.text);
    log_settle(true);
    CHECK(said + held + held_in(sink_text(&s)) == 50 && lines_in(s.text) == 1);
    CHECK(!log_is_holding());
    sink_close(&s);
}

TEST(a_secret_shows_as_a_hash_that_can_be_compared)
{
    struct sink s;
    char first[200], second[200], other[200];
    sink_open(&s, LOG_INFO, LOG_LOGFMT);
    log_error("secret", LSECRET("token", SLICE("hunter2")));
    (void)snprintf(first, sizeof first, "%s", strstr(sink_text(&s), "token="));
    log_error("secret", LSECRET("token", SLICE("hunter2")));
    (void)snprintf(second, sizeof second, "%s", strstr(sink_text(&s), "token="));
    log_error("secret", LSECRET("token", SLICE("hunter3")));
    (void)snprintf(other, sizeof other, "%s", strstr(sink_text(&s), "token="));
    CHECK(strcmp(first, second) == 0 && strcmp(first, other) != 0);
    CHECK(strstr(first, "hunter") == NULL && first[6] == '#' && strlen(first) == 16);
    sink_close(&s);
}

TEST(names_of_levels_and_formats_are_exact)
{
    static const char *const LEVELS[] = { "trace", "debug", "info", "warn", "error", "off" };
    enum log_level level = LOG_TRACE;
    enum log_format format = LOG_JSON;
    for (int i = 0; i < 6; i++) {
        CHECK_OK(log_level_parse(slice_str(LEVELS[i]), &level));
        CHECK(level == (enum log_level)i);
    }
    CHECK_OK(log_level_parse(SLICE("fatal"), &level));
    CHECK(level == LOG_ERROR);
    static const char *const BAD[] = { "", "INFO", "info ", "warning", "inf" };
    for (size_t i = 0; i < 5; i++)
        CHECK_ERR(ERR_INVALID, log_level_parse(slice_str(BAD[i]), &level));
    CHECK(level == LOG_ERROR);
    CHECK_OK(log_format_parse(SLICE("logfmt"), &format));
    CHECK(format == LOG_LOGFMT);
    CHECK_OK(log_format_parse(SLICE("json"), &format));
    CHECK(format == LOG_JSON);
    CHECK_OK(log_format_parse(SLICE("default"), &format));
    CHECK(format == LOG_LOGFMT);
    CHECK_ERR(ERR_INVALID, log_format_parse(SLICE("JSON"), &format));
    CHECK_ERR(ERR_INVALID, log_format_parse(SLICE(""), &format));
}

TESTS(RUN(a_line_has_its_time_level_event_and_fields), RUN(below_the_level_nothing_is_written),
      RUN(a_peer_cannot_forge_a_line), RUN(a_line_of_json_reads_back),
      RUN(long_values_never_break_a_line), RUN(repeats_are_held_back_and_counted),
      RUN(what_was_held_back_is_told_when_its_second_is_over),
      RUN(what_was_held_back_is_told_at_the_end_whatever_the_second),
      RUN(a_secret_shows_as_a_hash_that_can_be_compared),
      RUN(names_of_levels_and_formats_are_exact))
