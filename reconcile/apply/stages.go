package apply

// The stages of an apply: what defines before what uses, what confines before
// what runs, what judges writes last, lest it judge the release it comes with.
// Deletion goes the other way round.
const (
	stageDefinitions = iota // namespaces, custom resource definitions
	stageClasses            // classes, roles, accounts
	stageConfig             // bindings, configuration, limits, storage, services
	stageWorkloads          // everything else
	stageAdmission          // webhooks and admission policies, API services
	stageCount
)

var stageNames = [stageCount]string{"definitions", "classes", "configuration", "workloads", "admission"}

// Stages returns the names of the stages in the order in which they are applied.
func Stages() []string { return stageNames[:] }

// A groupKind is comparable and cheap.
type groupKind struct{ group, kind string }

const (
	rbacGroup      = "rbac.authorization.k8s.io"
	admissionGroup = "admissionregistration.k8s.io"
)

var (
	kindNamespace  = groupKind{"", "Namespace"}
	kindCRD        = groupKind{"apiextensions.k8s.io", "CustomResourceDefinition"}
	kindSecret     = groupKind{"", "Secret"}
	kindPod        = groupKind{"", "Pod"}
	kindAccount    = groupKind{"", "ServiceAccount"}
	kindPriority   = groupKind{"scheduling.k8s.io", "PriorityClass"}
	kindAutoscaler = groupKind{"autoscaling", "HorizontalPodAutoscaler"}
)

var stageOf = map[groupKind]int{
	kindNamespace: stageDefinitions,
	kindCRD:       stageDefinitions,

	kindPriority:                          stageClasses,
	{"storage.k8s.io", "StorageClass"}:    stageClasses,
	{"node.k8s.io", "RuntimeClass"}:       stageClasses,
	{"networking.k8s.io", "IngressClass"}: stageClasses,
	{rbacGroup, "ClusterRole"}:            stageClasses,
	{rbacGroup, "Role"}:                   stageClasses,
	kindAccount:                           stageClasses,

	{rbacGroup, "ClusterRoleBinding"}:      stageConfig,
	{rbacGroup, "RoleBinding"}:             stageConfig,
	kindSecret:                             stageConfig,
	{"", "ConfigMap"}:                      stageConfig,
	{"", "LimitRange"}:                     stageConfig,
	{"", "ResourceQuota"}:                  stageConfig,
	{"", "PersistentVolume"}:               stageConfig,
	{"", "PersistentVolumeClaim"}:          stageConfig,
	{"", "Service"}:                        stageConfig,
	{"networking.k8s.io", "NetworkPolicy"}: stageConfig,

	{admissionGroup, "ValidatingWebhookConfiguration"}:   stageAdmission,
	{admissionGroup, "MutatingWebhookConfiguration"}:     stageAdmission,
	{admissionGroup, "ValidatingAdmissionPolicy"}:        stageAdmission,
	{admissionGroup, "ValidatingAdmissionPolicyBinding"}: stageAdmission,
	{admissionGroup, "MutatingAdmissionPolicy"}:          stageAdmission,
	{admissionGroup, "MutatingAdmissionPolicyBinding"}:   stageAdmission,
	{"apiregistration.k8s.io", "APIService"}:             stageAdmission,
}

func (gk groupKind) stage() int {
	if s, ok := stageOf[gk]; ok {
		return s
	}
	return stageWorkloads
}
