"""Resources that Kubernetes itself does not have: schemas of what the chart uses of them.

They follow the definitions of the Gateway API (v1, of version 1.4) and of the Prometheus operator
(monitoring.coreos.com/v1), and are stricter: what is not in them the chart does not use.
"""

from typing import Any

import jsonschema

from tests.chart.manifests import Manifest

Schema = dict[str, Any]


def check(manifest: Manifest) -> bool:
    """Tell whether it is one of these, having validated it. Raises jsonschema.ValidationError."""
    schema = SCHEMAS.get((manifest["apiVersion"], manifest["kind"]))
    if schema is None:
        return False
    jsonschema.validate(manifest, _resource(schema))
    return True


def _object(required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": items}


def _resource(spec: Schema) -> Schema:
    text = {"type": "string"}
    metadata = _object(
        "name namespace labels", name=text, namespace=text, labels=TEXTS, annotations=TEXTS
    )
    return _object(
        "apiVersion kind metadata spec", apiVersion=text, kind=text, metadata=metadata, spec=spec
    )


TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
GATEWAY_DURATION: Schema = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
PROMETHEUS_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}

ROUTE = _object(
    "parentRefs hostnames rules",
    parentRefs=_list(
        _object(
            "name", name=TEXT, namespace=TEXT, sectionName=TEXT, group=TEXT, kind=TEXT, port=PORT
        )
    ),
    hostnames=_list(TEXT),
    rules=_list(
        _object(
            "matches timeouts backendRefs",
            matches=_list(
                _object(
                    "path", path=_object("type value", type={"const": "PathPrefix"}, value=TEXT)
                )
            ),
            timeouts=_object(
                "request backendRequest", request=GATEWAY_DURATION, backendRequest=GATEWAY_DURATION
            ),
            backendRefs=_list(_object("name port", name=TEXT, port=PORT)),
        )
    ),
)

RELABELING = _object(
    "",
    action=TEXT,
    regex=TEXT,
    sourceLabels=_list(TEXT),
    targetLabel=TEXT,
    replacement=TEXT,
    separator=TEXT,
)

MONITOR = _object(
    "selector namespaceSelector endpoints",
    selector=_object("matchLabels", matchLabels=TEXTS),
    namespaceSelector=_object("matchNames", matchNames=_list(TEXT)),
    endpoints=_list(
        _object(
            "port path",
            port=TEXT,
            path={"const": "/metrics"},
            interval=PROMETHEUS_DURATION,
            scrapeTimeout=PROMETHEUS_DURATION,
            relabelings=_list(RELABELING),
            metricRelabelings=_list(RELABELING),
        )
    ),
)

ALERTS = _object(
    "groups",
    groups=_list(
        {
            **_object(
                "name rules",
                name=TEXT,
                interval=PROMETHEUS_DURATION,
                rules=_list(
                    {
                        **_object(
                            "expr",
                            alert=TEXT,
                            record=TEXT,
                            expr=TEXT,
                            labels=TEXTS,
                            annotations=TEXTS,
                            **{"for": PROMETHEUS_DURATION},
                        ),
                        "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
                    }
                ),
            )
        }
    ),
)

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): ROUTE,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): ALERTS,
}
