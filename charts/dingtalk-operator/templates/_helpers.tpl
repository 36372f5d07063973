{{- /* Names and labels. What more than one template says stands here once. */ -}}

{{/* Name of every object; the release's name where that says already what it is. */}}
{{- define "dingtalk-operator.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 32 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end }}

{{/* Name of objects that belong to no namespace; two releases of one name must not meet there. */}}
{{- define "dingtalk-operator.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "dingtalk-operator.name" .) -}}
{{- end }}

{{/* Name of the leader's Lease. */}}
{{- define "dingtalk-operator.lease" -}}
{{- include "dingtalk-operator.name" . -}}
{{- end }}

{{/* Labels by which pods are selected; they never change. */}}
{{- define "dingtalk-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "dingtalk-operator.labels" -}}
{{ include "dingtalk-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: dingtalk-bridge
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The namespaces with DingTalkBridge objects, as a JSON list. */}}
{{- define "dingtalk-operator.namespaces" -}}
{{- .Values.watch.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* A reference of an image: ("operator" or "bridge") by registry and tag. */}}
{{- define "dingtalk-operator.image" -}}
{{- $images := .root.Values.images -}}
{{- $missing := "set images.registry to the registry that has the images dingtalk-operator and dingtalk-bridge, e.g. --set images.registry=registry.example.com/dingtalk; how they are built and pushed is in docs/operator.md" -}}
{{- printf "%s/dingtalk-%s:%s" (required $missing $images.registry | trimSuffix "/") .name ($images.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{/* The operator's file: the platform's defaults as they are in the values, the bridge's image filled in. */}}
{{- define "dingtalk-operator.file" -}}
{{- $platform := deepCopy .Values.platform -}}
{{- $image := $platform.image | default dict -}}
{{- if not $image.reference -}}
{{- $_ := set $image "reference" (include "dingtalk-operator.image" (dict "root" . "name" "bridge")) -}}
{{- end -}}
{{- $_ := set $platform "image" $image -}}
platform:
  {{- toYaml $platform | nindent 2 }}
operator:
  namespaces: {{ include "dingtalk-operator.namespaces" . }}
  leaderElection:
    enabled: true
    leaseName: {{ include "dingtalk-operator.lease" . }}
  health:
    listen: {{ printf (ternary "[%s]:%d" "%s:%d" (contains ":" .Values.operator.healthAddress)) .Values.operator.healthAddress 8081 | quote }}
  log:
    {{- toYaml .Values.operator.log | nindent 4 }}
  concurrency: {{ .Values.operator.concurrency }}
  resyncHours: {{ .Values.operator.resyncHours }}
  rollout:
    {{- toYaml .Values.rollout | nindent 4 }}
{{- end }}
