{{- /* Refuses values that contradict each other, or that would put a secret where others read it. */}}
{{- define "partner-license-exporter.check" -}}
{{- $fullname := include "partner-license-exporter.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
{{- fail (printf "%q cannot be the name of a Service: set fullnameOverride to letters, digits and hyphens, first a letter" $fullname) }}
{{- end }}
{{- include "partner-license-exporter.checkConfig" . }}
{{- include "partner-license-exporter.checkPod" . }}
{{- include "partner-license-exporter.checkObjects" . }}
{{- end }}

{{- define "partner-license-exporter.checkConfig" -}}
{{- $sources := compact (list .Values.config .Values.existingConfigMap .Values.existingConfigSecret) }}
{{- if gt (len $sources) 1 }}
{{- fail "only one of config, existingConfigMap and existingConfigSecret may be set" }}
{{- end }}
{{- if not (or $sources .Values.extraEnv .Values.extraEnvFrom) }}
{{- fail "there is no account: set config.accounts, existingConfigMap, existingConfigSecret, or the variables of one account in extraEnv" }}
{{- end }}
{{- if and .Values.config (not .Values.config.accounts) }}
{{- fail "config.accounts is missing" }}
{{- end }}
{{- $names := list }}
{{- range $n, $account := .Values.config.accounts }}
{{- range $key := list "client_secret" "refresh_token" }}
{{- if hasKey $account $key }}
{{- fail (printf "config.accounts[%d].%s would be in a ConfigMap, which many can read: create a Secret, name it in existingSecrets, and set %s_file to /var/run/secrets/partner-license-exporter/SECRET/KEY" $n $key $key) }}
{{- end }}
{{- end }}
{{- if regexMatch "^([^/]*//)?[^/]*@" (default "" $account.proxy_url) }}
{{- fail (printf "config.accounts[%d].proxy_url has a password and would be in a ConfigMap, which many can read: put the whole configuration into a Secret, and name it in existingConfigSecret" $n) }}
{{- end }}
{{- if has $account.name $names }}
{{- fail (printf "config.accounts[%d].name is that of an account before it, or missing" $n) }}
{{- end }}
{{- $names = append $names $account.name }}
{{- range $key, $path := $account }}
{{- include "partner-license-exporter.checkFile" (dict "key" (printf "config.accounts[%d].%s" $n $key) "path" (toString $path) "Values" $.Values) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Refuses a file below the directory of the Secrets that none of them has. */}}
{{- define "partner-license-exporter.checkFile" -}}
{{- $directory := "/var/run/secrets/partner-license-exporter/" }}
{{- $is_mounted := not (hasPrefix $directory .path) }}
{{- range .Values.existingSecrets }}
{{- $is_mounted = or $is_mounted (hasPrefix (printf "%s%s/" $directory .) $.path) }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
{{- $is_mounted = or $is_mounted (hasPrefix .mountPath $.path) }}
{{- end }}
{{- if not $is_mounted }}
{{- fail (printf "%s is %s, but existingSecrets has no %s" .key .path (.path | trimPrefix $directory | splitList "/" | first)) }}
{{- end }}
{{- end }}

{{- define "partner-license-exporter.checkPod" -}}
{{- $variables := list "STATE_DIRECTORY" "POD_INDEX" }}
{{- if .Values.workloadIdentity.enabled }}{{ $variables = append $variables "AZURE_FEDERATED_TOKEN_FILE" }}{{ end }}
{{- range $n, $variable := .Values.extraEnv }}
{{- if has .name $variables }}
{{- fail (printf "extraEnv[%d] sets %s, which the chart or an entry before it sets" $n .name) }}
{{- end }}
{{- $variables = append $variables .name }}
{{- $is_secret := has .name (list "AZURE_CLIENT_SECRET" "PARTNER_CENTER_REFRESH_TOKEN") }}
{{- $is_proxy := and (hasSuffix "_proxy" (lower .name)) (regexMatch "^([^/]*//)?[^/]*@" (toString .value)) }}
{{- if and (hasKey . "value") (or $is_secret $is_proxy) }}
{{- fail (printf "extraEnv[%d].value is a secret and would be in the pod, which many can read: create a Secret, and name it in valueFrom.secretKeyRef" $n) }}
{{- end }}
{{- end }}
{{- range $n, $argument := .Values.extraArgs }}
{{- $flag := splitList "=" $argument | first }}
{{- if has $flag (list "--config.file" "--web.config.file" "--web.listen-address" "--web.systemd-socket" "--web.telemetry-path" "--shard" "--total-shards") }}
{{- fail (printf "extraArgs[%d] sets %s, on which the chart relies" $n $flag) }}
{{- end }}
{{- if has $flag (list "--config.check" "--help" "-h" "--version") }}
{{- fail (printf "extraArgs[%d] is %s, with which the program ends" $n $flag) }}
{{- end }}
{{- end }}
{{- $spec := (include "partner-license-exporter.pod" (merge (dict "own" dict) .) | fromYaml).spec }}
{{- $names := and .Values.persistence.enabled (not .Values.persistence.existingClaim) | ternary (list "state") list }}
{{- range $spec.volumes }}
{{- if has .name $names }}
{{- fail (printf "extraVolumes has the name %s, which the chart or an entry before it has" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $paths := list }}
{{- range (first $spec.containers).volumeMounts }}
{{- $path := trimSuffix "/" .mountPath }}
{{- if has $path $paths }}
{{- fail (printf "extraVolumeMounts has the mountPath %s, which the chart or an entry before it has" $path) }}
{{- end }}
{{- $paths = append $paths $path }}
{{- end }}
{{- if and .Values.webConfig.tls (not .Values.webConfig.existingSecret) }}
{{- fail "webConfig.tls needs webConfig.existingSecret, which turns TLS on" }}
{{- end }}
{{- with .Values.persistence }}
{{- if and .existingClaim (not .enabled) }}
{{- fail "persistence.existingClaim needs persistence.enabled" }}
{{- end }}
{{- if and (eq $.Values.kind "Deployment") (not .existingClaim) (or .enabled (gt (int $.Values.replicas) 1)) }}
{{- fail "kind Deployment needs persistence.existingClaim" }}
{{- end }}
{{- end }}
{{- if gt (int .Values.sharding.totalShards) 1 }}
{{- if ne .Values.kind "StatefulSet" }}
{{- fail "sharding.totalShards needs kind StatefulSet: a pod learns its shard from its ordinal" }}
{{- end }}
{{- if not .Values.persistence.existingClaim }}
{{- fail "sharding.totalShards needs persistence.existingClaim of access mode ReadWriteMany, so that accounts which move to another shard find their tokens" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "partner-license-exporter.checkObjects" -}}
{{- with .Values.service }}
{{- if and (eq .type "ClusterIP") (eq .clusterIP "None") (ne (int .port) 10365) }}
{{- fail "service.port needs service.clusterIP \"\": without an address of its own the Service has the port of the pods, 10365" }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor and podMonitor would scrape each pod twice: enable one of them" }}
{{- end }}
{{- range $key := list "serviceMonitor" "podMonitor" }}
{{- with index $.Values $key }}
{{- $longest := include "partner-license-exporter.milliseconds" .interval | int64 }}
{{- if and .enabled (gt (include "partner-license-exporter.milliseconds" .scrapeTimeout | int64) $longest) }}
{{- fail (printf "%s.scrapeTimeout is longer than its interval, so the operator would leave it out" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (eq (toString .minAvailable) "") (eq (toString .maxUnavailable) "") }}
{{- fail "podDisruptionBudget needs minAvailable or maxUnavailable" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The milliseconds of a duration of Prometheus, such as 1m30s. */}}
{{- define "partner-license-exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $sum = add $sum (mul (trimSuffix $unit . | int64) (index $units $unit)) }}
{{- end }}
{{- $sum }}
{{- end }}
