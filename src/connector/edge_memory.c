#include "connector/edge_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/strb.h"
#include "crypto/keyfile.h"

#define HEAD           "adit edges 1"
#define FILE_BYTES_MAX (EDGE_MEMORY_MAX * (EDGE_KEY_BYTES + ADDR_TEXT_BYTES) + 64)
#define FILE_MODE      0600

static void key_of(const struct edge_name *name, char ret[static EDGE_KEY_BYTES])
{
    if (name->is_srv)
        (void)snprintf(ret, EDGE_KEY_BYTES, "srv:%s", name->host);
    else
        (void)snprintf(ret, EDGE_KEY_BYTES, "%s:%u", name->host, name->port);
}

/* ---- the text ---- */

static int parse_entry(struct slice line, struct edge_memory_entry *ret)
{
    size_t space = slice_find(line, ' ');
    struct slice key = slice_sub(line, 0, space);
    if (key.n == 0 || key.n >= sizeof ret->key || space == line.n ||
        addr_parse(slice_sub(line, space + 1, SIZE_MAX), &ret->addr) < 0 ||
        addr_is_any(&ret->addr) || addr_port(&ret->addr) == 0)
        return ERR_PARSE;
    memcpy(ret->key, key.p, key.n);
    ret->key[key.n] = 0;
    return 0;
}

int edge_memory_parse(struct edge_memory *m, struct slice text)
{
    struct slice line;
    size_t count = 0;
    m->count = 0;
    if (!slice_split(&text, '\n', &line) || !slice_eq(line, SLICE(HEAD)))
        return ERR_PARSE;
    while (slice_split(&text, '\n', &line)) {
        if (line.n == 0)
            continue;
        if (count == EDGE_MEMORY_MAX || parse_entry(line, &m->entries[count]) < 0)
            return ERR_PARSE;
        count++;
    }
    m->count = count;
    return 0;
}

static void write_text(const struct edge_memory *m, struct strb *to)
{
    char text[ADDR_TEXT_BYTES];
    strb_str(to, HEAD "\n");
    for (size_t i = 0; i < m->count; i++)
        strb_fmt(to, "%s %s\n", m->entries[i].key, addr_text(&m->entries[i].addr, text));
}

/* ---- the file ---- */

void edge_memory_open(struct edge_memory *m, const char *dir, const struct uuid *tunnel)
{
    char id[UUID_TEXT_BYTES], *text;
    size_t n;
    struct fault f;
    *m = (struct edge_memory){ 0 };
    int length = dir != NULL
                     ? snprintf(m->path, sizeof m->path, "%s/edges-%s", dir, uuid_text(tunnel, id))
                     : 0;
    if (length <= 0 || length >= (int)sizeof m->path) {
        m->path[0] = 0;
        return;
    }
    int r = file_read(m->path, FILE_BYTES_MAX, true, &text, &n, &f);
    if (r == 0) {
        r = edge_memory_parse(m, slice_of(text, n));
        free(text);
        if (r < 0)
            (void)fault_set(&f, r, "%s is not understood", m->path);
    }
    if (r < 0 && r != ERR_NOTFOUND)
        log_warn("good addresses of the edge are not known from before", LSTR("why", f.text));
}

static void save(struct edge_memory *m)
{
    struct strb text;
    struct fault f = { 0 };
    if (m->path[0] == 0)
        return;
    strb_init(&text, FILE_BYTES_MAX);
    write_text(m, &text);
    int r = text.err == 0 ? file_write(m->path, strb_slice(&text), FILE_MODE, &f) : text.err;
    strb_done(&text);
    if (r < 0 && !m->is_told)
        log_info("good addresses of the edge cannot be kept for the next start",
                 LSTR("why", f.text[0] != 0 ? f.text : err_text(r)));
    m->is_told = r < 0;
}

/* ---- what is remembered ---- */

bool edge_memory_find(const struct edge_memory *m, const struct edge_name *name,
                      struct edge_found *ret)
{
    char key[EDGE_KEY_BYTES];
    key_of(name, key);
    *ret = (struct edge_found){ 0 };
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].key, key) == 0)
            ret->addrs[ret->count++] = m->entries[i].addr;
    ret->preferred = ret->count;
    return ret->count > 0;
}

static void drop(struct edge_memory *m, size_t at)
{
    m->count--;
    memmove(&m->entries[at], &m->entries[at + 1], (m->count - at) * sizeof m->entries[0]);
}

static void make_room(struct edge_memory *m, const char *key)
{
    size_t of_key = 0, last = 0;
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].key, key) == 0) {
            of_key++;
            last = i;
        }
    if (of_key >= EDGE_MEMORY_OF_NAME)
        drop(m, last);
    else if (m->count == EDGE_MEMORY_MAX)
        drop(m, m->count - 1);
}

void edge_memory_note(struct edge_memory *m, const struct edge_name *name, const struct addr *addr)
{
    struct edge_memory_entry entry = { .addr = *addr };
    key_of(name, entry.key);
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].key, entry.key) == 0 && addr_eq(&m->entries[i].addr, addr))
            return;
    make_room(m, entry.key);
    memmove(&m->entries[1], &m->entries[0], m->count * sizeof m->entries[0]);
    m->entries[0] = entry;
    m->count++;
    save(m);
}
