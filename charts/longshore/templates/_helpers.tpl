{{- define "longshore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "longshore.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "longshore.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "longshore.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "longshore.leaseName" -}}
{{- $name := include "longshore.fullname" . }}
{{- ternary $name (printf "%s-operator" $name) (hasSuffix "-operator" $name) }}
{{- end }}

{{- define "longshore.selectorLabels" -}}
app.kubernetes.io/name: {{ include "longshore.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "longshore.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "longshore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "longshore.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "longshore.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "longshore.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* Roles that belong to the cluster carry the namespace, so that two releases do not share them. */ -}}
{{- define "longshore.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "longshore.fullname" .) }}
{{- end }}

{{- define "longshore.rules" -}}
- apiGroups: [longshore.dev]
  resources: [taskqueues, workerpools, cronschedules]
  verbs: [get, list, watch]
- apiGroups: [longshore.dev]
  resources: [taskqueues/status, workerpools/status, cronschedules/status]
  verbs: [update]
- apiGroups: [longshore.dev]  # its finalizer, for deletionPolicy Delete
  resources: [taskqueues]
  verbs: [patch]
- apiGroups: [longshore.dev]  # to own Deployments that block its deletion
  resources: [workerpools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]  # brokers' addresses
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
