/* Server-sent events, and any body that comes in small pieces: each piece is with the visitor
 * within one turn of the loop after its origin wrote it, over both codecs, both ends of the tunnel
 * and all that is between them. A turn that is over cannot have waited for a deadline that was set
 * within it, and nobody turns the loop again: so no deadline has a part in it. */
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "exchange_lab.h"

#define EVENTS 1000

/* The origin is a plain socket: what is written to it is there for its reader at once. */
struct source {
    char dir[32];
    struct sockaddr_un at;
    int listener, fd;
};

static void source_open(struct source *s, struct lab *l, const char *request)
{
    char service[128];
    *s = (struct source){ .dir = "/tmp/adit-prompt-XXXXXX", .at = { .sun_family = AF_UNIX } };
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->at.sun_path, sizeof s->at.sun_path, "%s/origin", s->dir);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&s->at, sizeof s->at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    s->fd = -1;
    (void)snprintf(service, sizeof service, "unix:%s", s->at.sun_path);
    lab_begin(l, request);
    open_connector(l, service);
}

static bool source_is_asked(struct source *s)
{
    char head[4096];
    if (s->fd < 0)
        s->fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ssize_t n = s->fd >= 0 ? recv(s->fd, head, sizeof head, 0) : -1;
    return n > 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0;
}

static void source_say(struct source *s, const char *text)
{
    assert_int_equal(send(s->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void source_close(struct source *s)
{
    (void)close(s->fd);
    (void)close(s->listener);
    (void)unlink(s->at.sun_path);
    (void)rmdir(s->dir);
}

/* What the visitor has heard, as text; it is forgotten. */
static const char *heard(struct lab *l)
{
    static char text[4096];
    (void)listen_on(l);
    size_t n = buf_copy(&l->heard, 0, text, sizeof text - 1);
    text[n] = 0;
    buf_drop(&l->heard, n);
    return text;
}

static void tell_events(const char *type, unsigned extensions, const char *more, void **state_)
{
    struct lab l;
    struct source s;
    char text[256], head[256], wanted[128];
    source_open(&s, &l, "GET /events HTTP/1.1\r\nHost: " HOST "\r\n\r\n");
    l.link->extensions = extensions;
    CHECK_OK(ask(&l));
    (void)listen_on(&l);
    UNTIL(l.loop, source_is_asked(&s));
    (void)snprintf(head, sizeof head,
                   "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n%s\r\n",
                   type, more);
    source_say(&s, head);
    loop_turn(l.loop, 0);
    CHECK(strstr(heard(&l), type) != NULL);
    for (int i = 0; i < EVENTS; i++) {
        int n = snprintf(wanted, sizeof wanted, "data: %d\n\n", i);
        (void)snprintf(text, sizeof text, "%x\r\n%s\r\n", (unsigned)n, wanted);
        source_say(&s, text);
        loop_turn(l.loop, 0);
        const char *got = heard(&l);
        if (strcmp(got, text) != 0)
            fail_msg("event %d: \"%s\"", i, got);
    }
    source_say(&s, "0\r\n\r\n");
    loop_turn(l.loop, 0);
    assert_string_equal(heard(&l), "0\r\n\r\n");
    lab_close(&l, state_);
    source_close(&s);
}

TEST(each_of_a_thousand_events_is_there_within_one_turn)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    tell_events("text/event-stream", 0, "", state_);
    tell_events("text/html; charset=utf-8", 0, "", state_);
}

TEST(events_with_trailers_behind_them_are_no_later)
{
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    tell_events("text/event-stream", EXTENSIONS_ALL, "Trailer: X-Sum\r\n", state_);
}

TESTS(RUN(each_of_a_thousand_events_is_there_within_one_turn),
      RUN(events_with_trailers_behind_them_are_no_later))
