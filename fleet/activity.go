package fleet

import "time"

// The activities that are not steps, by name. A step's activity is named for its
// StepKind. Names, not method references, tie workflows to activities: the
// planner may name a step that an older workflow never heard of, and a program
// that starts operations does not link what carries them out.
const (
	// ActivityLook observes a cluster and plans: LookRequest → Look.
	ActivityLook = "Look"
	// ActivityForecast observes and plans to the end: PlanRequest → PlanReply.
	ActivityForecast = "Forecast"
	// ActivitySurvey looks at many clusters: SurveyRequest → SurveyReply.
	ActivitySurvey = "Survey"
	// ActivityPublishEndpoints has a cluster's record say where clients are to connect:
	// PublishRequest → StepReply.
	ActivityPublishEndpoints = "PublishEndpoints"
	// ActivityIssueCertificate signs: CertificateRequest → CertificateReply.
	ActivityIssueCertificate = "IssueCertificate"
	// ActivityFleetRecipient says whom to seal to: nothing → RecipientReply.
	ActivityFleetRecipient = "FleetRecipient"
	// ActivityExamine says what a region lacks for its work: ExamineRequest → ExamineReply.
	ActivityExamine = "Examine"
	// ActivityInventory lists what carries our tags: InventoryRequest → InventoryReply.
	ActivityInventory = "Inventory"
	// ActivityRemoveResources ends hosts and disks for good: RemoveRequest → RemoveReply.
	ActivityRemoveResources = "RemoveResources"
)

// LookRequest asks for one look at a cluster and the next wave of an operation.
type LookRequest struct {
	Operation Operation `json:"operation"`
	Memory
	// First says that the operation did nothing yet: what can be refused is refused
	// now, and whoever has to approve it is shown the plan.
	First bool `json:"first,omitempty"`
}

// Look is what was seen and what was decided from it; together they stand in the
// operation's history.
type Look struct {
	Observation Observation `json:"observation"`
	Decision    Decision    `json:"decision"`
	// Ahead is how many waves are forecast after this one.
	Ahead   int     `json:"ahead"`
	Summary Summary `json:"summary"`
	// Endpoints are where clients should connect while the wave runs: a member that it
	// takes away is not among them.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Policy is the one in force: the call's over the spec's over the fleet's.
	Policy Policy `json:"policy,omitzero"`
	// Plan are the waves that are forecast, where somebody has to approve them.
	Plan [][]Step `json:"plan,omitempty"`
	// Whole says that nothing is half done: no member is being replaced or restarted,
	// so that an operation may wait here for hours, for a maintenance window say.
	Whole bool `json:"whole,omitempty"`
	// Loss says, each in words, what a recovery would go on from, and what may be lost by
	// it; set when it is about to.
	Loss []string `json:"loss,omitempty"`
	// Sources are what a recovery may go on from, the one that it would first; set with Loss.
	Sources []Source `json:"sources,omitempty"`
	// Left are the things that the operation would leave half done if it ended here,
	// each in words: "orders-4 is a learner and was not promoted".
	Left []string `json:"left,omitempty"`
	// Elsewhere are the places other than the operation's where something of the cluster is.
	Elsewhere []Place `json:"elsewhere,omitempty"`
}

// Empty says that nothing of the cluster exists.
func (l Look) Empty() bool {
	o := l.Observation
	return len(o.Hosts)+len(o.Disks) == 0 && !o.Authority && !o.Secrets
}

// StepRequest asks for one step.
type StepRequest struct {
	Operation Operation `json:"operation"`
	Step      Step      `json:"step"`
	Policy    Policy    `json:"policy,omitzero"`
	// Keys is what was compared and put back before, for steps that go on from it.
	Keys *KeyRestore `json:"keys,omitempty"`
}

// StepReply says what a step did, for a person.
type StepReply struct {
	Note string `json:"note,omitempty"`
	// Keys is what keys were compared and put back, where the step does that.
	Keys *KeyRestore `json:"keys,omitempty"`
	// Revision is the last one that a member's data has that was recovered or restored,
	// before a restore moved it on.
	Revision int64 `json:"revision,omitempty"`
}

// PlanRequest asks what an operation would do.
type PlanRequest struct {
	Operation Operation `json:"operation"`
}

// PlanReply is the forecast of an operation.
type PlanReply struct {
	// Exists says that something of the cluster is there already.
	Exists bool `json:"exists"`
	// Waves are the steps in order; those of one wave run together.
	Waves [][]Step `json:"waves,omitempty"`
	// Problems are what is wrong with the request, all at once.
	Problems Problems `json:"problems,omitempty"`
	// Blocked is why it cannot run, if it cannot; Kind says of which kind that is.
	Blocked string `json:"blocked,omitempty"`
	Kind    Kind   `json:"kind,omitempty"`
	// Members are the members that there are, by name, as far as etcd or the cloud lists them.
	Members []string `json:"members,omitempty"`
	// Buys and Destroys say in words what is bought and what is destroyed.
	Buys     []string `json:"buys,omitempty"`
	Destroys []string `json:"destroys,omitempty"`
}

// SurveyRequest asks how clusters of one provider and region are now.
type SurveyRequest struct {
	Clusters []Summary `json:"clusters"`
}

// SurveyReply gives the summaries with fresh counts, in the order asked.
type SurveyReply struct {
	Clusters []Summary `json:"clusters"`
}

// CertificateRequest asks for a client certificate. The key stays with the client.
type CertificateRequest struct {
	Provider string   `json:"provider"`
	Region   string   `json:"region"`
	Cluster  string   `json:"cluster"`
	UID      string   `json:"uid"`
	CSR      string   `json:"csr"`  // PEM
	Name     string   `json:"name"` // common name of the certificate
	Validity Duration `json:"validity"`
	// Elsewhere are other places where members may be.
	Elsewhere []Place `json:"elsewhere,omitempty"`
}

// CertificateReply is a client certificate and what it is good for.
type CertificateReply struct {
	CA          string     `json:"ca"`          // PEM
	Certificate string     `json:"certificate"` // PEM
	Expires     time.Time  `json:"expires"`
	Endpoints   []Endpoint `json:"endpoints"`
}

// RecipientReply is the public part of the fleet's key: what is sealed to it
// can be read by workers alone.
type RecipientReply struct {
	Recipient string `json:"recipient"`
}
