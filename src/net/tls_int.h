#pragma once
/* What the files of TLS share. */
#include <gnutls/gnutls.h>

#include "net/tls.h"

#define TLS_PAIRS_MAX 64

struct tls_creds {
    _Atomic unsigned refs;
    bool is_server, verifies;
    gnutls_certificate_credentials_t cert;
    gnutls_priority_t priority;
    gnutls_datum_t tickets; /* key of session tickets, a server's */
    gnutls_datum_t alpn[8]; /* copies */
    unsigned alpn_count;
};
