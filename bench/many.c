/* many CA.pem EDGE-HOST:PORT: holds one connection for each tunnel token on standard input, all on
 * one loop, and answers every request with status 204 by a rule of its own. Says "registered N"
 * when so many have registered and it is asked for no more; ends with standard input's other end
 * gone. For bench/scale: ten thousand processes would measure the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "connector/connection.h"
#include "connector/serve.h"
#include "connector/warp.h"
#include "crypto/keyfile.h"
#include "crypto/random.h"
#include "model/tunnel_token.h"

#define TOKENS_MAX 20000
#define LINE_BYTES 2048

struct many {
    struct loop *loop;
    struct serve serve;
    struct edge_set edges;
    size_t wanted, registered;
    bool is_told;
};

struct one {
    struct connection_identity identity;
    struct connection *connection;
};

static void news(struct mail *m)
{
    struct connection_news *n = container_of(m, struct connection_news, mail);
    struct many *all = n->ctx;
    if (n->state == CONNECTION_SERVING)
        all->registered++;
    else if (n->state == CONNECTION_BACKOFF)
        (void)fprintf(stderr, "many: %s\n", n->text);
    if (all->registered >= all->wanted && !all->is_told) {
        all->is_told = true;
        (void)printf("registered %zu\n", all->registered);
        (void)fflush(stdout);
    }
    free(n);
}

static void fail(const char *what, const struct fault *f)
{
    (void)fprintf(stderr, "many: %s: %s\n", what, f != NULL ? f->text : "no memory");
    exit(1);
}

static void start(struct many *all, struct quic_creds *creds, const char *line, struct arena *arena)
{
    static const char *const FEATURES[] = { "serialized_headers", "support_quic_eof", NULL };
    struct fault f = { 0 };
    struct credential cred;
    struct one *one = arena_alloc(arena, sizeof *one);
    if (one == NULL)
        fail("start", NULL);
    if (tunnel_token_read(slice_str(line), arena, &cred, &f) < 0)
        fail("token", &f);
    one->identity = (struct connection_identity){
        .account = arena_str(arena, cred.account),
        .tunnel = cred.tunnel,
        .secret = cred.secret.p,
        .secret_bytes = cred.secret.n,
        .features = FEATURES,
        .version = "many",
        .arch = "none",
    };
    random_uuid(&one->identity.connector);
    struct connection_conf conf = {
        .identity = &one->identity,
        .creds = creds,
        .server_name = "quic.cftunnel.com",
        .edges = &all->edges,
        .serve = &all->serve,
        .retries = 5,
        .supervisor = loop_mailbox(all->loop),
        .news = news,
        .supervisor_ctx = all,
    };
    if (connection_new(all->loop, &conf, &one->connection) < 0)
        fail("connection", NULL);
}

int main(int argc, char **argv)
{
    struct many all = { 0 };
    struct fault f = { 0 };
    struct arena arena;
    struct quic_creds *creds;
    struct origin_request request;
    struct flow_limit flows = { 0 };
    struct warp_routing warp;
    struct uuid id;
    char *pem, line[LINE_BYTES];
    static char *lines[TOKENS_MAX];
    size_t n;
    if (argc != 3)
        return 2;
    arena_init(&arena, (size_t)1 << 30);
    if (file_read(argv[1], 1 << 20, false, &pem, &n, &f) < 0 ||
        quic_creds_client(slice_of(pem, n), &creds, &f) < 0)
        fail(argv[1], &f);
    if (addr_parse(slice_str(argv[2]), &all.edges.addrs[0]) < 0 || loop_new(&all.loop) < 0)
        fail(argv[2], NULL);
    all.edges.count = 1;
    warp_routing_defaults(&warp);
    origin_request_defaults(&request);
    random_uuid(&id);
    struct serve_conf conf = {
        .metrics = serve_metrics_new(), .connector = &id, .warp = &warp, .flows = &flows
    };
    if (ingress_single("http_status:204", &request, &conf.ingress, &f) < 0)
        fail("ingress", &f);
    if (serve_init(&all.serve, all.loop, &conf) < 0)
        fail("serve", NULL);
    for (; all.wanted < TOKENS_MAX && fgets(line, sizeof line, stdin) != NULL; all.wanted++) {
        lines[all.wanted] = arena_str(&arena, slice_str(line));
        if (lines[all.wanted] == NULL)
            fail("tokens", NULL);
    }
    for (size_t i = 0; i < all.wanted; i++) {
        start(&all, creds, lines[i], &arena);
        /* A handful of handshakes at a time: they have five seconds. */
        for (int k = 0; k < 1000 && all.registered + 32 < i; k++)
            loop_turn(all.loop, 10);
    }
    loop_run(all.loop);
    return 0;
}
