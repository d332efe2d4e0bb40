#include "connector/builtin.h"

#include "base/err.h"
#include "base/strb.h"
#include "http/page.h"

#define HELLO_BYTES_MAX (128 * 1024)

void builtin_status(struct exchange *ex, unsigned status)
{
    struct response *r = response_new(ex, status);
    if (r == NULL) {
        exchange_fail(ex, ERR_NOMEM, HOP_CONNECTOR, NULL);
        return;
    }
    exchange_respond(ex, r);
    body_end(&ex->down);
}

static void add_escaped(struct strb *to, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = (char)s.p[i];
        if (c == '<')
            strb_str(to, "&lt;");
        else if (c == '&')
            strb_str(to, "&amp;");
        else
            strb_char(to, c);
    }
}

void builtin_hello(struct exchange *ex)
{
    struct strb page;
    strb_init(&page, HELLO_BYTES_MAX);
    strb_str(
        &page,
        "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        "<meta name=viewport content=\"width=device-width\">\n<title>Hello from Adit</title>\n"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44em;margin:10vh auto;padding:0 "
        "1em;"
        "color:#223;background:#fafafa}pre{background:#eef;padding:1em;overflow-x:auto;"
        "border-radius:.4em}@media(prefers-color-scheme:dark){body{background:#15171c;color:#dde}"
        "pre{background:#22262e}}</style>\n<h1>Hello from Adit</h1>\n"
        "<p>The tunnel works: this page was written by the connector. Put your own service here "
        "with <code>adit tunnel --url http://localhost:8000</code>.</p>\n"
        "<p>This is the request as it arrived:</p>\n<pre>");
    add_escaped(&page, ex->request.method);
    strb_char(&page, ' ');
    add_escaped(&page, ex->request.target);
    strb_str(&page, " HTTP/1.1\nHost: ");
    add_escaped(&page, ex->request.host);
    for (size_t i = 0; i < ex->request.fields.count; i++) {
        strb_char(&page, '\n');
        add_escaped(&page, ex->request.fields.lines[i].name);
        strb_str(&page, ": ");
        add_escaped(&page, ex->request.fields.lines[i].value);
    }
    strb_str(&page, "</pre>\n</html>\n");
    int r = page.err;
    if (r == 0)
        r = page_respond_bytes(ex, 200, "text/html; charset=utf-8", strb_slice(&page));
    strb_done(&page);
    if (r < 0)
        exchange_fail(ex, r, HOP_CONNECTOR, "the page could not be written");
}
