{{- define "belay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "belay.fullname" -}}
{{- $name := include "belay.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels of all objects. The context is the chart's, with a component if it isn't the operator. */}}
{{- define "belay.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: belay
{{ include "belay.selector" . }}
{{- end }}

{{/*
Labels and annotations of an object. The context is a dict with the chart's context as root, and with the object's own labels
and annotations if it has some. They take precedence over commonLabels and commonAnnotations.
*/}}
{{- define "belay.metadata" -}}
{{- $labels := mergeOverwrite (deepCopy .root.Values.commonLabels) (include "belay.labels" .root | fromYaml) (default dict .labels) -}}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "belay.selector" -}}
app.kubernetes.io/name: {{ include "belay.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "belay.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "belay.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required if serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "belay.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "belay.operatorImage" -}}
{{- include "belay.image" (merge (dict "tag" (default .Chart.AppVersion .Values.image.tag)) .Values.image) }}
{{- end }}

{{/* Where Belay's pods may run. */}}
{{- define "belay.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
