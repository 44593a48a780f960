package required_labels

violation contains {"msg": msg} if {
	some label in input.parameters.labels
	not input.object.metadata.labels[label]
	msg := sprintf("label %v is missing: add it", [label])
}
