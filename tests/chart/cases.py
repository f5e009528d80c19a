"""Values that people install the chart with: each is rendered, validated and loaded by a node."""

from tests.chart.manifests import PRODUCTION, TRIAL, Manifest, merged

AUTHENTICATED: Manifest = {
    "auth": {"existingSecret": "our-users"},
    "config": {
        "authenticator": [
            {"type": "basic", "file": "/etc/restms-auth/users"},
            {"type": "keys", "file": "/etc/restms-auth/keys"},
            {
                "type": "jwt",
                "issuer": "https://id.example/",
                "audience": ["restms"],
                "keys": "https://id.example/jwks.json",
                "leeway": 10,
            },
        ],
        "rule": [
            {"group": "staff", "verbs": ["configure", "publish"], "domain": "*", "feed": "*"},
            {"principal": "billing", "verbs": ["publish"], "domain": "sales", "feed": "orders.*"},
        ],
        "rate": [
            {"principal": "billing", "messages": "5000/s"},
            {"group": "staff", "requests": "off"},
        ],
        "domain": [
            {"name": "sales", "title": 'Sales "and" orders\\ <all>', "waits_per_domain": 500},
            {
                "name": "default",
                "bytes_per_domain": "64MiB",
                "feed": [
                    {"name": "orders.new", "type": "fanout", "dead_letter": "letters"},
                    {"name": "letters", "dedup": 60.5, "durability": "disk"},
                ],
            },
        ],
    },
}

PROXIED: Manifest = merged(
    AUTHENTICATED,
    {
        "trustedProxies": ["10.244.0.0/16", "fd00::/64"],
        "config": {"authenticator": [{"type": "certificate", "groups": ["machines"]}]},
    },
)

TUNED: Manifest = {
    "config": {
        "wait_seconds": 110,
        "max_waits": 123456789,
        "drain_delay_seconds": 0,
        "drain_seconds": 2.5,
        "reread_seconds": 0.25,
        "request_rate": "500/5s",
        "codings": [],
        "cors_origins": ["https://app.example"],
        "durability": "disk",
        "content_bytes": "64MiB",
        "document_bytes": 4194304,
        "lane": False,
        "log_level": "warning",
    },
    "logFormat": "human",
}

INGRESS: Manifest = {
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": ["messages.example", "m.example"],
        "tls": [{"secretName": "messages-tls", "hosts": ["messages.example", "m.example"]}],
    }
}

GATEWAY: Manifest = {
    "httpRoute": {
        "enabled": True,
        "hostnames": ["messages.example"],
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
    }
}

SCALED: Manifest = {"autoscaling": {"enabled": True, "targetWaits": 4000}}

WATCHED: Manifest = {
    "metrics": {
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "interval": "15s",
            "scrapeTimeout": "10s",
            "metricRelabelings": [{"action": "labeldrop", "regex": "container"}],
        },
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    }
}

PLACED: Manifest = {
    "replicaCount": 5,
    "commonLabels": {"team": "integration"},
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"repository": "registry.example/restms", "digest": "sha256:" + 64 * "a"},
    "annotations": {"example.com/owner": "integration"},
    "podAnnotations": {"example.com/inject": "false"},
    "podLabels": {"zone": "inner", "app.kubernetes.io/name": "not this one"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "messages", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
    "podDisruptionBudget": {"maxUnavailable": "20%"},
    "serviceAccount": {"annotations": {"example.com/account": "restms"}},
    "service": {"type": "LoadBalancer", "annotations": {"example.com/idle-timeout": "120"}},
    "extraEnv": [{"name": "OTEL_SERVICE_NAME", "value": "messages"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 6379}]}],
    },
}

BARE: Manifest = {
    "replicaCount": 1,
    "auth": {"insecure": True},
    "serviceAccount": {"create": False},
    "topologySpread": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "metrics": {"enabled": False},
    "test": {"enabled": False},
}

VALKEY: Manifest = merged(
    TRIAL,
    {
        "valkey": {
            "auth": {"existingSecret": "our-valkey", "existingSecretKey": "word"},
            "persistence": {"storageClassName": "fast", "size": "8Gi"},
            "podLabels": {"zone": "inner"},
            "podAnnotations": {"example.com/inject": "false"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "messages", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
            "image": {"digest": "sha256:" + 64 * "b"},
        }
    },
)

CASES: dict[str, Manifest] = {
    "trial": TRIAL,
    "production": PRODUCTION,
    "authenticated": merged(PRODUCTION, AUTHENTICATED),
    "authenticated-tested": merged(
        PRODUCTION, AUTHENTICATED, {"test": {"existingSecret": "our-test"}}
    ),
    "proxied": merged(PRODUCTION, PROXIED, INGRESS),
    "insecure": merged(TRIAL, {"auth": {"insecure": True}}),
    "tuned": merged(PRODUCTION, TUNED),
    "ingress": merged(TRIAL, INGRESS),
    "gateway": merged(PRODUCTION, GATEWAY),
    "scaled": merged(PRODUCTION, SCALED),
    "watched": merged(PRODUCTION, WATCHED),
    "placed": merged(PRODUCTION, PLACED),
    "tls": merged(PRODUCTION, {"redis": {"tlsSecret": "our-redis-tls"}}),
    "bare": merged(PRODUCTION, BARE),
    "bare-trial": merged(TRIAL, BARE, {"valkey": {"persistence": {"enabled": False}}}),
    "valkey": VALKEY,
    "everything": merged(VALKEY, AUTHENTICATED, TUNED, INGRESS, GATEWAY, SCALED, WATCHED, PLACED),
}
