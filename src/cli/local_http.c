#include "cli/local_http.h"

#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "connector/seen.h"
#include "http/date.h"
#include "http/long_text.h"
#include "http/page.h"

#define READY_BYTES_MAX         (8 * 1024)
#define PORT_FIRST              20241
#define PORT_LAST               20245
#define CONFIGURATION_BYTES_MAX (32 * 1024 * 1024) /* ten thousand rules with every value */

static int answer_nothing(struct exchange *ex)
{
    return page_respond_bytes(ex, 404, "text/plain; charset=utf-8", SLICE("404 page not found\n"));
}

/* Takes the text. */
static int respond_long(struct exchange *ex, const char *media_type, struct strb *page)
{
    size_t n = page->n;
    int err = page->err;
    char *text = strb_take(page);
    if (text == NULL)
        return err < 0 ? err : ERR_NOMEM;
    return long_text_respond(ex, media_type, text, n);
}

/* In the reference's shape; where there are several tunnels, with the figures of each. One of them
 * that does not get through is no reason to end the others. */
static int answer_ready(struct local_http *h, struct exchange *ex)
{
    struct strb text;
    unsigned ready = connectors_ready(h->connectors), status = ready > 0 ? 200 : 503;
    strb_init(&text, READY_BYTES_MAX);
    strb_fmt(&text, "{\"status\":%u,\"readyConnections\":%u,\"connectorId\":\"%s\"", status, ready,
             h->id);
    for (size_t i = 0; h->connectors->count > 1 && i < h->connectors->count; i++)
        strb_fmt(&text, "%s{\"id\":\"%s\",\"readyConnections\":%u}",
                 i == 0 ? ",\"tunnels\":[" : ",", connector_tunnel(h->connectors->list[i]),
                 connector_ready(h->connectors->list[i]));
    strb_str(&text, h->connectors->count > 1 ? "]}" : "}");
    int r = text.err == 0
                ? page_respond_bytes(ex, status, "text/plain; charset=utf-8", strb_slice(&text))
                : text.err;
    strb_done(&text);
    return r;
}

static int answer_metrics(struct local_http *h, struct exchange *ex)
{
    struct strb page;
    strb_init(&page, METRICS_BYTES_MAX);
    connectors_metrics(h->connectors, &page);
    if (h->hostname != NULL && connectors_ready(h->connectors) > 0) {
        const struct metric_family *f = connector_family(FAMILY_USER_HOSTNAMES);
        metric_family_head(&page, f);
        strb_fmt(&page, "%s{userHostname=\"https://", f->name);
        metric_label(&page, slice_str(h->hostname));
        strb_str(&page, "\"} 1\n");
    }
    metric_process_page(&page,
                        "goversion=\"\",revision=\"\",type=\"\",version=\"" ADIT_VERSION "\"");
    return respond_long(ex, "text/plain; version=0.0.4; charset=utf-8", &page);
}

static int answer_quick(struct local_http *h, struct exchange *ex)
{
    char text[320];
    (void)snprintf(text, sizeof text, "{\"hostname\":\"%s\"}",
                   h->hostname != NULL ? h->hostname : "");
    return page_respond_bytes(ex, 200, "text/plain; charset=utf-8", slice_str(text));
}

/* Rules may be many: more than an exchange holds at once. */
static int answer_configuration(struct local_http *h, struct exchange *ex)
{
    const struct connectors *all = h->connectors;
    struct strb json;
    strb_init(&json, CONFIGURATION_BYTES_MAX);
    for (size_t i = 0; i < all->count; i++) {
        if (all->count > 1)
            strb_fmt(&json, "%s{\"id\":\"%s\",\"configuration\":", i == 0 ? "{\"tunnels\":[" : ",",
                     connector_tunnel(all->list[i]));
        connector_configuration(all->list[i], &json);
        if (all->count > 1)
            strb_str(&json, i + 1 == all->count ? "}]}" : "}");
    }
    return respond_long(ex, "text/plain; charset=utf-8", &json);
}

static int answer_diag(struct local_http *h, struct exchange *ex, struct slice what)
{
    struct strb json;
    strb_init(&json, BODY_BYTES_MAX);
    if (slice_eq(what, SLICE("configuration")))
        diag_configuration(h->cli, &json);
    else if (slice_eq(what, SLICE("tunnel")))
        diag_tunnel(h, &json);
    else if (slice_eq(what, SLICE("system")))
        diag_system(&json);
    else
        json.err = ERR_NOTFOUND;
    int r = json.err == ERR_NOTFOUND ? answer_nothing(ex) : json.err;
    if (json.err == 0)
        r = page_respond_bytes(ex, 200, "text/plain; charset=utf-8", strb_slice(&json));
    strb_done(&json);
    return r;
}

static void route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct local_http *h = ctx;
    struct slice path = slice_sub(ex->request.target, 0, slice_find(ex->request.target, '?'));
    int r;
    (void)conn;
    if (slice_eq(path, SLICE("/ready")))
        r = answer_ready(h, ex);
    else if (slice_eq(path, SLICE("/healthcheck")))
        r = page_respond_bytes(ex, 200, "text/plain; charset=utf-8", SLICE("OK\n"));
    else if (slice_eq(path, SLICE("/metrics")))
        r = answer_metrics(h, ex);
    else if (slice_eq(path, SLICE("/config")))
        r = answer_configuration(h, ex);
    else if (slice_eq(path, SLICE("/quicktunnel")))
        r = answer_quick(h, ex);
    else if (slice_starts(path, SLICE("/diag/")))
        r = answer_diag(h, ex, slice_sub(path, strlen("/diag/"), SIZE_MAX));
    else
        r = answer_nothing(ex);
    if (r < 0)
        exchange_fail(ex, r, HOP_CONNECTOR, NULL);
}

static void accept_run(struct task *t)
{
    struct local_http *h = container_of(t, struct local_http, task);
    struct stream *s;
    struct addr peer;
    for (unsigned i = 0;
         i < ACCEPT_STEP && h->listener != NULL && tcp_accept(h->listener, NULL, &s, &peer) == 0;
         i++)
        if (h1_serve(&h->clients, s, &peer, "http") < 0) {
            stream_abort(s, ERR_NOMEM);
            stream_release(s);
        }
}

static int try_listen(struct local_http *h, const char *text, struct addr *got)
{
    struct addr a;
    char literal[128];
    struct tcp_listen_opts opts = { .fd = -1 };
    struct slice s = slice_str(text);
    if (slice_starts(s, SLICE("localhost:")))
        (void)snprintf(literal, sizeof literal, "127.0.0.1%s", text + 9);
    else
        (void)snprintf(literal, sizeof literal, "%s", text);
    int r = addr_parse(slice_str(literal), &a);
    return r < 0 ? ERR_INVALID : tcp_listen(h->loop, &a, &opts, &h->task, &h->listener, got);
}

int local_http_open(struct local_http *h, struct loop *loop, struct cli *cli, const char *hostname,
                    const struct connectors *connectors, const struct uuid *connector)
{
    struct addr got;
    char text[ADDR_TEXT_BYTES];
    const char *address = cli->o.metrics;
    int r = ERR_BUSY;
    *h = (struct local_http){
        .loop = loop, .cli = cli, .hostname = hostname, .connectors = connectors
    };
    task_init(&h->task, loop, accept_run);
    h1_group_init(&h->clients, loop, &h->task, route, h);
    h->clients.head_out = http_date_head;
    (void)uuid_text(connector, h->id);
    if (slice_eq(slice_str(address), SLICE("localhost:0")))
        for (unsigned port = PORT_FIRST; port <= PORT_LAST && r < 0; port++) {
            (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
            r = try_listen(h, text, &got);
        }
    if (r < 0)
        r = try_listen(h, address, &got);
    if (r < 0)
        return fault_set(&cli->fault, r, "--metrics %s: %s", address,
                         r == ERR_INVALID ? "host:port is wanted" : err_text(r));
    log_info("Starting metrics server", LSTR("address", addr_text(&got, text)));
    return 0;
}

void local_http_close(struct local_http *h)
{
    if (h->loop == NULL)
        return;
    tcp_listener_close(h->listener);
    h->listener = NULL;
    h1_group_abort(&h->clients);
    task_done(&h->task);
}
