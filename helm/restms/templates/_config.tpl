{{/*
The TOML file of a node, from config. The function toToml would write 10000 as 10000.0, which
is no whole number. JSON writes texts, numbers, switches and lists of texts just as TOML does.
*/}}

{{- define "restms.toml" -}}
# Made by the chart from its values.
{{ range $key, $value := .Values.config -}}
{{- if not (or (kindIs "invalid" $value) (has $key (list "domain" "authenticator" "rule" "rate"))) -}}
{{ $key }} = {{ toRawJson $value }}
{{ end -}}
{{- end -}}
{{- with include "restms.baseUrl" . -}}
base_url = {{ toRawJson . }}
{{ end -}}
{{- with .Values.trustedProxies -}}
trusted_proxies = {{ toRawJson . }}
{{ end -}}
{{- if .Values.auth.insecure -}}
insecure = true
{{ end -}}
{{- range .Values.config.domain -}}
{{- include "restms.toml.table" (list "domain" .) -}}
{{- end -}}
{{- if include "restms.makesKey" . -}}
{{- include "restms.toml.table" (list "authenticator" (dict "type" "keys" "file" "/etc/restms-auth/keys")) -}}
{{- include "restms.toml.table" (list "rule" (dict "principal" .Values.auth.keyName "verbs" (list "configure" "publish" "subscribe" "inspect") "domain" "*" "feed" "*")) -}}
{{- end -}}
{{- range .Values.config.authenticator -}}
{{- include "restms.toml.table" (list "authenticator" .) -}}
{{- end -}}
{{- range .Values.config.rule -}}
{{- include "restms.toml.table" (list "rule" .) -}}
{{- end -}}
{{- range .Values.config.rate -}}
{{- include "restms.toml.table" (list "rate" .) -}}
{{- end -}}
{{- end -}}

{{/* A table under double brackets: what it has itself, then the tables in it (the feeds of a domain). */}}

{{- define "restms.toml.table" -}}
{{- $name := index . 0 -}}
{{- $table := index . 1 }}
[[{{ $name }}]]
{{ range $key, $value := omit $table "feed" -}}
{{- if not (kindIs "invalid" $value) -}}
{{ $key }} = {{ toRawJson $value }}
{{ end -}}
{{- end -}}
{{- if kindIs "slice" $table.feed -}}
{{- range $table.feed -}}
{{- include "restms.toml.table" (list (printf "%s.feed" $name) .) -}}
{{- end -}}
{{- else if $table.feed -}}
feed = {{ toRawJson $table.feed }}
{{ end -}}
{{- end -}}
