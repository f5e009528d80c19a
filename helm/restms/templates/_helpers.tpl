{{/* Names. 63 characters are what a label may have; the longest ending is "-nodes". */}}

{{- define "restms.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "restms.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restms.valkey.fullname" -}}{{ include "restms.fullname" . }}-valkey{{- end -}}

{{- define "restms.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "restms.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
Labels: those by which pods are selected, which can never change; of pods, which are not made
anew for the chart's sake; and of everything. What the values add does not go before the chart's own.
*/}}

{{- define "restms.selectorLabels" -}}
app.kubernetes.io/name: {{ include "restms.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "restms.podLabels" -}}
{{- $ours := include "restms.selectorLabels" . | fromYaml -}}
{{- $version := dict "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- merge $ours $version .Values.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "restms.labels" -}}
{{- $ours := include "restms.selectorLabels" . | fromYaml -}}
{{- $version := dict "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- merge $ours $version (include "restms.chartLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "restms.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: restms
{{- end -}}

{{- define "restms.valkey.selectorLabels" -}}
app.kubernetes.io/name: {{ include "restms.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: valkey
{{- end -}}

{{- define "restms.valkey.podLabels" -}}
{{- $ours := include "restms.valkey.selectorLabels" . | fromYaml -}}
{{- merge $ours .Values.valkey.podLabels .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "restms.valkey.labels" -}}
{{- $ours := include "restms.valkey.selectorLabels" . | fromYaml -}}
{{- merge $ours (include "restms.chartLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "restms.test.labels" -}}
{{- $ours := include "restms.selectorLabels" . | fromYaml -}}
{{- $ours = set $ours "app.kubernetes.io/component" "test" -}}
{{- merge $ours (include "restms.chartLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{/* An image: by its digest where there is one. Called with (list IMAGE DEFAULT-TAG). */}}

{{- define "restms.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Whether the chart makes the key with which clients come in; else nothing. */}}

{{- define "restms.makesKey" -}}
{{- if not (or .Values.auth.insecure .Values.config.authenticator) -}}yes{{- end -}}
{{- end -}}

{{- define "restms.keySecretName" -}}{{ include "restms.fullname" . }}-key{{- end -}}

{{- define "restms.valkey.secretName" -}}
{{- default (include "restms.valkey.fullname" .) .Values.valkey.auth.existingSecret -}}
{{- end -}}

{{- define "restms.valkey.secretKey" -}}
{{- if .Values.valkey.auth.existingSecret -}}
{{- .Values.valkey.auth.existingSecretKey -}}
{{- else -}}
password
{{- end -}}
{{- end -}}

{{/*
The URL that URIs in answers begin with, and nothing where requests tell it. A proxy that is
trusted tells it with each request, so that clients within the cluster get URIs of their own.
*/}}

{{- define "restms.baseUrl" -}}
{{- if .Values.baseUrl -}}
{{- .Values.baseUrl -}}
{{- else if not .Values.trustedProxies -}}
{{- if .Values.ingress.enabled -}}
{{- $host := first .Values.ingress.hosts -}}
{{- if not (hasPrefix "*" $host) -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty .Values.ingress.tls))) $host -}}
{{- end -}}
{{- else if .Values.httpRoute.enabled -}}
{{- $host := first .Values.httpRoute.hostnames -}}
{{- if not (hasPrefix "*" $host) -}}
{{- printf "%s://%s" (ternary "https" "http" .Values.httpRoute.https) $host -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What proxies must wait for, in seconds: longer than any GET does. */}}

{{- define "restms.proxySeconds" -}}
{{- add (include "restms.seconds" (list .Values.config.wait_seconds 55)) 20 -}}
{{- end -}}

{{/*
How long a pod may take to end: the bound on preStop, and then what the node takes after
SIGTERM at most (longest_drain in server.py: new connections, 5 s for the last answers, and
what is under way), with 5 s to spare for starting the one and ending the other.
*/}}

{{- define "restms.gracePeriodSeconds" -}}
{{- add (ceil .Values.drain.seconds) (include "restms.seconds" (list .Values.config.drain_delay_seconds 1)) 5 (include "restms.seconds" (list .Values.config.drain_seconds 10)) 5 -}}
{{- end -}}

{{/* Whole seconds, where 0 is a value and nothing is the node's own default. Called with (list VALUE DEFAULT). */}}

{{- define "restms.seconds" -}}
{{- if kindIs "invalid" (index . 0) }}{{ index . 1 }}{{ else }}{{ ceil (index . 0) }}{{ end -}}
{{- end -}}

{{/* The durabilities that are asked for, of the server and of single feeds, one after the other. */}}

{{- define "restms.durabilities" -}}
{{- .Values.config.durability | default "" -}}
{{- range .Values.config.domain -}}
{{- range .feed }} {{ .durability | default "" }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* What the values must not be, each in one sentence. Included by the Deployment. */}}

{{- define "restms.validate" -}}
{{- $redis := .Values.redis.existingSecret -}}
{{- if and $redis .Values.valkey.enabled -}}
{{- fail "Give either redis.existingSecret or valkey.enabled, not both: nodes have one Redis." -}}
{{- end -}}
{{- if not (or $redis .Values.valkey.enabled) -}}
{{- fail "Name a Secret with the URL of your Redis in redis.existingSecret, or try it out with valkey.enabled=true." -}}
{{- end -}}
{{- if and .Values.auth.insecure .Values.config.authenticator -}}
{{- fail "auth.insecure is for nodes without config.authenticator: give one of them." -}}
{{- end -}}
{{- if and .Values.auth.insecure .Values.config.rule -}}
{{- fail "config.rule needs to know who comes in, which auth.insecure does not ask: give one of them." -}}
{{- end -}}
{{- if and .Values.valkey.enabled (contains "replicas" (include "restms.durabilities" .)) -}}
{{- fail "The chart's Valkey has no replicas, so no durability can ask for them: name a Redis that has in redis.existingSecret." -}}
{{- end -}}
{{- if and .Values.auth.existingSecret (not .Values.config.authenticator) -}}
{{- fail "auth.existingSecret has files that config.authenticator must name: give both." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs a name in ingress.hosts." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not (and .Values.httpRoute.hostnames .Values.httpRoute.parentRefs)) -}}
{{- fail "httpRoute.enabled needs httpRoute.hostnames and httpRoute.parentRefs." -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not .Values.trustedProxies) (not (include "restms.baseUrl" .)) -}}
{{- fail "Where the first host has a wildcard, give baseUrl or trustedProxies: else nodes do not know the URIs of their answers." -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas must not be more than autoscaling.maxReplicas." -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (or .Values.autoscaling.targetCPUUtilizationPercentage .Values.autoscaling.targetWaits)) -}}
{{- fail "autoscaling.enabled needs a target: targetCPUUtilizationPercentage or targetWaits." -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled." -}}
{{- end -}}
{{- end -}}
