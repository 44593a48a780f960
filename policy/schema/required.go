package schema

// notRequired are the fields, by component, that OpenAPI calls required and that the
// API server does without. Each was seen to be accepted: TestServerAgrees removes
// every field of its objects and compares.
var notRequired = map[string][]string{
	"apiextensions.CustomResourceDefinitionVersion": {"served"},
	"batch.PodFailurePolicy":                        {"rules"},
	"core.Event":                                    {"involvedObject"},
	"core.HTTPHeader":                               {"value"},
	"core.ISCSIPersistentVolumeSource":              {"lun"},
	"core.ISCSIVolumeSource":                        {"lun"},
	"core.LimitRangeSpec":                           {"limits"},
	"core.PreferredSchedulingTerm":                  {"preference"},
	"core.ScaleIOPersistentVolumeSource":            {"secretRef"},
	"core.ScaleIOVolumeSource":                      {"secretRef"},
	"core.SleepAction":                              {"seconds"},
	"core.Sysctl":                                   {"value"},
	// As the data source of a claim one that is of no known kind is dropped.
	"core.TypedLocalObjectReference": {"kind", "name"},
	"discovery.ForZone":              {"name"},
	"meta.GroupResource":             {"group"},
	"resource.Counter":               {"value"},
	"resource.DeviceCapacity":        {"value"},
	"resource.ResourcePool":          {"generation"},
	"storage.CSIDriver":              {"spec"},
	"storage.CSINode":                {"spec"},
	"storage.CSINodeSpec":            {"drivers"},
	"storage.TokenRequest":           {"audience"},
}
