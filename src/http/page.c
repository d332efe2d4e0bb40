#include "http/page.h"

#include "base/err.h"
#include "base/strb.h"

#define PAGE_BYTES_MAX 16384

enum form { FORM_TEXT, FORM_HTML, FORM_JSON };

/* q=0.5 in thousandths; 1000 when it is not given or not one (RFC 9110 §12.4.2). */
static unsigned quality_of(struct slice parameters)
{
    struct slice part;
    while (slice_split(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (part.n < 3 || (part.p[0] | 0x20) != 'q' || part.p[1] != '=')
            continue;
        unsigned q = 0, unit = 1000;
        for (size_t i = 2; i < part.n && unit > 0; i++) {
            if (part.p[i] == '.' && i == 3)
                continue;
            if (part.p[i] < '0' || part.p[i] > '9')
                return 1000;
            q += (unsigned)(part.p[i] - '0') * unit;
            unit /= 10;
        }
        return q < 1000 ? q : 1000;
    }
    return 1000;
}

static bool form_of_type(struct slice type, enum form *ret)
{
    if (slice_eq_nocase(type, SLICE("text/html")) ||
        slice_eq_nocase(type, SLICE("application/xhtml+xml")))
        *ret = FORM_HTML;
    else if (slice_eq_nocase(type, SLICE("application/json")) || slice_ends(type, SLICE("+json")))
        *ret = FORM_JSON;
    else if (slice_eq_nocase(type, SLICE("text/plain")) || slice_eq_nocase(type, SLICE("text/*")) ||
             slice_eq_nocase(type, SLICE("*/*")))
        *ret = FORM_TEXT;
    else
        return false;
    return true;
}

/* The form that Accept likes best, the first of equals; plain text when it names none of ours. */
static enum form form_of(const struct request *request)
{
    const struct field *accept = fields_get(&request->fields, SLICE("accept"));
    enum form best = FORM_TEXT, form;
    unsigned best_quality = 0;
    struct slice rest = accept != NULL ? accept->value : (struct slice){ 0 }, part;
    while (slice_split(&rest, ',', &part)) {
        struct slice type;
        (void)slice_split(&part, ';', &type);
        unsigned quality = quality_of(part);
        if (form_of_type(slice_trim(type), &form) && quality > best_quality) {
            best = form;
            best_quality = quality;
        }
    }
    return best;
}

static void add_escaped(struct strb *to, const char *text)
{
    for (; text != NULL && *text != 0; text++) {
        switch (*text) {
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
        default:
            strb_char(to, *text);
        }
    }
}

static void add_quoted(struct strb *to, const char *text)
{
    strb_char(to, '"');
    for (; text != NULL && *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            strb_char(to, '\\');
        if ((unsigned char)*text < 0x20)
            strb_fmt(to, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            strb_char(to, *text);
    }
    strb_char(to, '"');
}

/* The way of a request with the failed hop marked, as a row of words. */
static void add_way(struct strb *to, enum hop failed)
{
    static const enum hop WAY[] = { HOP_VISITOR, HOP_EDGE, HOP_TUNNEL, HOP_CONNECTOR, HOP_ORIGIN };
    strb_str(to, "<p class=way>");
    for (size_t i = 0; i < sizeof WAY / sizeof WAY[0]; i++)
        strb_fmt(to, "%s<span%s>%s</span>", i > 0 ? " &rarr; " : "",
                 WAY[i] == failed ? " class=bad" : "", hop_name(WAY[i]));
    strb_str(to, "</p>\n");
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
    strb_fmt(to, "%u %s\n", page->status, page->title);
    if (page->text != NULL)
        strb_fmt(to, "%s\n", page->text);
    if (page->next != NULL)
        strb_fmt(to, "%s\n", page->next);
    if (page->hop != HOP_NONE)
        strb_fmt(to, "failed at: %s\n", hop_name(page->hop));
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
        [FORM_TEXT] = "text/plain; charset=utf-8",
        [FORM_HTML] = "text/html; charset=utf-8",
        [FORM_JSON] = "application/json",
    };
    struct strb text;
    strb_init(&text, PAGE_BYTES_MAX);
    enum form form = form_of(&ex->request);
    if (form == FORM_HTML)
        write_html(&text, ex, page);
    else if (form == FORM_JSON)
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
