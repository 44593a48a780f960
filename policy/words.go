package policy

import "strings"

// commonWords are keys and values of nearly every object; decoding shares one
// term for each of them.
var commonWords = strings.Fields(`
	apiVersion kind metadata spec status name namespace labels annotations uid resourceVersion generation
	creationTimestamp managedFields ownerReferences finalizers generateName selector matchLabels
	matchExpressions template replicas strategy type rollingUpdate maxSurge maxUnavailable
	containers initContainers ephemeralContainers volumes volumeMounts image imagePullPolicy command args
	env envFrom value valueFrom fieldRef fieldPath secretKeyRef configMapKeyRef ports containerPort hostPort
	protocol port targetPort resources limits requests cpu memory ephemeral-storage securityContext runAsUser
	runAsGroup runAsNonRoot fsGroup privileged allowPrivilegeEscalation readOnlyRootFilesystem capabilities add drop
	seccompProfile seLinuxOptions appArmorProfile livenessProbe readinessProbe startupProbe httpGet tcpSocket exec path
	scheme host initialDelaySeconds periodSeconds timeoutSeconds successThreshold failureThreshold lifecycle
	mountPath subPath readOnly configMap secret emptyDir projected sources serviceAccountToken downwardAPI
	persistentVolumeClaim claimName hostPath items key mode optional defaultMode serviceAccountName
	automountServiceAccountToken restartPolicy terminationGracePeriodSeconds dnsPolicy schedulerName
	terminationMessagePath terminationMessagePolicy affinity tolerations nodeSelector topologySpreadConstraints
	hostNetwork hostPID hostIPC hostUsers enableServiceLinks priorityClassName imagePullSecrets jobTemplate
	schedule data stringData rules apiGroups verbs subjects roleRef
	TCP UDP HTTP HTTPS ALL RuntimeDefault Localhost IfNotPresent Always Never OnFailure ClusterFirst
	default-scheduler File RollingUpdate v1 apps/v1 batch/v1 Pod Deployment StatefulSet DaemonSet Job CronJob
	ReplicaSet Service ConfigMap Secret app app.kubernetes.io/name app.kubernetes.io/instance
	app.kubernetes.io/part-of app.kubernetes.io/managed-by app.kubernetes.io/version app.kubernetes.io/component`)
