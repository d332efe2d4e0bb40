#include "http/page.h"

#include "base/err.h"
#include "base/strb.h"
#include "http/accept.h"

#define PAGE_BYTES_MAX 16384

/* What a connector says may be as long as a head; a page keeps the start of it. */
#define TEXT_BYTES_MAX 1000

/* Where a text is cut: not within a character. */
static size_t shown_of(const char *text)
{
    size_t n = strnlen(text, TEXT_BYTES_MAX + 1);
    if (n <= TEXT_BYTES_MAX)
        return n;
    n = TEXT_BYTES_MAX;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* Terminals act on control characters, and some texts come from connectors and origins. */
static void add_plain(struct strb *to, const char *text)
{
    size_t n = shown_of(text);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_c1 = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0;
        i += is_c1;
        strb_char(to, c < 0x20 || c == 0x7f || is_c1 ? ' ' : (char)c);
    }
    if (text[n] != 0)
        strb_str(to, "...");
}

static void add_escaped(struct strb *to, const char *text)
{
    size_t n = shown_of(text);
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '<':
            strb_str(to, "&lt;");
            break;
        case '>':
            strb_str(to, "&gt;");
            break;
        case '&':
            strb_str(to, "&amp;");
            break;
        case '"':
            strb_str(to, "&quot;");
            break;
        case '\'':
            strb_str(to, "&#39;");
            break;
        default:
            strb_char(to, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
        }
    }
    if (text[n] != 0)
        strb_str(to, "...");
}

static void add_quoted(struct strb *to, const char *text)
{
    size_t n = text != NULL ? shown_of(text) : 0;
    strb_char(to, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            strb_char(to, '\\');
        if (c < 0x20 || c == 0x7f)
            strb_fmt(to, "\\u%04x", (unsigned)c);
        else
            strb_char(to, (char)c);
    }
    if (text != NULL && text[n] != 0)
        strb_str(to, "...");
    strb_char(to, '"');
}

static const enum hop WAY[] = { HOP_VISITOR, HOP_EDGE, HOP_TUNNEL, HOP_CONNECTOR, HOP_ORIGIN };

/* The way of a request with the failed hop marked, as a row of words. */
static void add_way(struct strb *to, enum hop failed)
{
    strb_str(to, "<p class=way>");
    for (size_t i = 0; i < sizeof WAY / sizeof WAY[0]; i++)
        strb_fmt(to, "%s<span%s>%s</span>", i > 0 ? " &rarr; " : "",
                 WAY[i] == failed ? " class=bad" : "", hop_name(WAY[i]));
    strb_str(to, "</p>\n");
}

static void add_plain_way(struct strb *to, enum hop failed)
{
    for (size_t i = 0; i < sizeof WAY / sizeof WAY[0]; i++)
        strb_fmt(to, WAY[i] == failed ? "%s[%s]" : "%s%s", i > 0 ? " > " : "", hop_name(WAY[i]));
}

static void write_html(struct strb *to, const struct exchange *ex, const struct page *page)
{
    strb_str(to, "<!doctype html>\n<html lang=en><meta charset=utf-8>"
                 "<meta name=viewport content=\"width=device-width\">\n<title>");
    add_escaped(to, page->title);
    strb_str(
        to,
        "</title>\n<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;"
        "padding:0 1em;color:#223;background:#fafafa}h1{font-size:1.5em}.way{color:#889}"
        ".bad{color:#b02020;font-weight:600}small{color:#889}"
        "@media(prefers-color-scheme:dark){body{background:#15171c;color:#dde}"
        ".bad{color:#ff7b7b}}</style>\n<h1>");
    add_escaped(to, page->title);
    strb_str(to, "</h1>\n");
    if (page->hop != HOP_NONE)
        add_way(to, page->hop);
    const char *const parts[] = { page->text, page->next };
    for (size_t i = 0; i < 2; i++) {
        if (parts[i] == NULL)
            continue;
        strb_str(to, "<p>");
        add_escaped(to, parts[i]);
        strb_str(to, "</p>\n");
    }
    strb_fmt(to, "<p><small>%u", page->status);
    if (page->code != 0)
        strb_fmt(to, " &middot; error %u", page->code);
    strb_fmt(to, " &middot; request %s</small></p>\n</html>\n", ex->id);
}

static void write_json(struct strb *to, const struct exchange *ex, const struct page *page)
{
    strb_fmt(to, "{\"status\":%u,\"code\":%u,\"title\":", page->status, page->code);
    add_quoted(to, page->title);
    strb_str(to, ",\"text\":");
    add_quoted(to, page->text);
    strb_str(to, ",\"next\":");
    add_quoted(to, page->next);
    strb_fmt(to, ",\"hop\":\"%s\",\"request\":\"%s\"}\n", hop_name(page->hop), ex->id);
}

static void write_text(struct strb *to, const struct exchange *ex, const struct page *page)
{
    const char *const lines[] = { page->text, page->next };
    strb_fmt(to, "%u %s\n", page->status, page->title);
    for (size_t i = 0; i < 2; i++) {
        if (lines[i] == NULL)
            continue;
        add_plain(to, lines[i]);
        strb_char(to, '\n');
    }
    if (page->hop != HOP_NONE) {
        strb_fmt(to, "failed at: %s (", hop_name(page->hop));
        add_plain_way(to, page->hop);
        strb_str(to, ")\n");
    }
    if (page->code != 0)
        strb_fmt(to, "error %u, ", page->code);
    strb_fmt(to, "request %s\n", ex->id);
}

int page_respond_bytes(struct exchange *ex, unsigned status, const char *media_type,
                       struct slice body)
{
    struct response *r = response_new(ex, status);
    if (r == NULL)
        return ERR_NOMEM;
    int e = fields_add(&r->fields, SLICE("Content-Type"), slice_str(media_type));
    if (e == 0)
        e = fields_add(&r->fields, SLICE("Cache-Control"), SLICE("no-store"));
    bool has_body = !slice_eq(ex->request.method, SLICE("HEAD")) && body.n > 0;
    if (e == 0 && has_body) {
        e = buf_put(&ex->down.held, body);
        ex->down.total += body.n;
    }
    if (e < 0)
        return e;
    r->has_length = true;
    r->length = body.n;
    r->framing = has_body ? FRAMING_LENGTH : FRAMING_NONE;
    exchange_respond(ex, r);
    body_end(&ex->down);
    return 0;
}

int page_respond(struct exchange *ex, const struct page *page)
{
    static const char *const MEDIA[] = {
        [PAGE_TEXT] = "text/plain; charset=utf-8",
        [PAGE_HTML] = "text/html; charset=utf-8",
        [PAGE_JSON] = "application/json",
    };
    struct strb text;
    strb_init(&text, PAGE_BYTES_MAX);
    enum page_form form = accept_form(&ex->request.fields);
    if (form == PAGE_HTML)
        write_html(&text, ex, page);
    else if (form == PAGE_JSON)
        write_json(&text, ex, page);
    else
        write_text(&text, ex, page);
    int r = text.err;
    if (r == 0)
        r = page_respond_bytes(ex, page->status, MEDIA[form], strb_slice(&text));
    strb_done(&text);
    return r;
}

void page_for_failure(enum failure failure, const char *text, struct page *ret)
{
    const struct failure_row *row = failure_row(failure);
    *ret = (struct page){
        .status = row->status,
        .code = row->code,
        .title = row->title,
        .text = text,
        .next = row->next,
        .hop = row->hop,
    };
}
