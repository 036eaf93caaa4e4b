package simulator

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
)

// WorkflowName is the only workflow that the simulator runs.
const WorkflowName = "strategy_workflow"

// agent is one of the workflow's agents (docs/api.md §6), with its possible results.
type agent struct {
	id       string
	phase    int
	category string
	findings []finding
	metrics  []string
}

// finding is an insight and a recommendation. %d is replaced by a random number.
type finding struct{ insight, recommendation string }

// agents are the agents in the order of their phases.
var agents = []agent{
	{"integration_health", 1, "optimization", []finding{
		{"%d%% of integration calls succeed at the first try", "Retry the CMS connector's calls with backoff"},
		{"The analytics export runs %d minutes late on average", "Move the export out of the nightly batch"},
		{"%d events a day arrive without a visitor id", "Set the visitor id before the first page event"},
	}, []string{"integration_success_percentage", "checked_endpoints"}},
	{"content_review", 1, "content", []finding{
		{"%d%% of landing pages have no variant for returning visitors", "Write variants for the five most visited landing pages"},
		{"%d articles repeat one another", "Merge articles that rank for the same terms"},
		{"The reading level of %d product pages is above the audience's", "Shorten product descriptions to two paragraphs"},
	}, []string{"pages_reviewed", "content_score_percentage"}},
	{"geo_audit", 1, "optimization", []finding{
		{"%d%% of answers of AI assistants leave the brand out", "Publish structured answers to the most asked questions"},
		{"%d pages lack structured data", "Add product and FAQ markup to category pages"},
		{"Crawlers of AI assistants are refused on %d paths", "Allow documentation paths in robots.txt"},
	}, []string{"prompts_tested", "visibility_percentage"}},
	{"audience_suggester", 2, "audience", []finding{
		{"%d%% of revenue comes from visitors with three visits or more", "Make an audience of visitors between their second and third visit"},
		{"Mobile visitors from newsletters leave %d%% more often", "Make an audience of newsletter readers on phones"},
		{"%d accounts visit pricing without a conversation", "Hand accounts with repeated pricing visits to sales"},
	}, []string{"audiences_found", "reach_percentage"}},
	{"customer_journey", 2, "strategy", []finding{
		{"%d%% of carts are left at the choice of delivery", "Show delivery costs on the product page"},
		{"Visitors need %d steps from search to cart", "Link search results to the variant that was searched for"},
		{"Support is asked about returns %d times a day", "Put the return policy into the order confirmation"},
	}, []string{"journeys_analyzed", "drop_off_percentage"}},
	{"experiment_blueprinter", 2, "experiment", []finding{
		{"A test of the checkout's button needs %d visitors", "Run the checkout test for two full weeks"},
		{"%d experiments ended without a winner in the last quarter", "Test bolder variants of the same hypotheses"},
		{"The form's length explains %d%% of drop-outs", "Test a form with half of the fields"},
	}, []string{"blueprints_drafted", "expected_uplift_percentage"}},
	{"personalization_idea_generator", 3, "personalization", []finding{
		{"%d%% of visitors see the same hero image at every visit", "Rotate the hero by the category visited last"},
		{"Returning visitors scroll past %d recommendations", "Show what goes with the last purchase"},
		{"Visitors from campaigns see offers of %d other campaigns", "Carry the campaign's offer through the session"},
	}, []string{"ideas_generated", "personalized_share_percentage"}},
	{"cmp_organizer", 3, "content", []finding{
		{"%d briefs wait for review longer than a week", "Give every brief one reviewer and a date"},
		{"%d%% of campaign tasks have no owner", "Assign owners when a campaign is planned"},
		{"%d assets were made twice", "Tag assets with campaign and format"},
	}, []string{"tasks_organized", "on_time_percentage"}},
	{"roadmap_generator", 3, "strategy", []finding{
		{"%d of the proposals can be live within a month", "Begin with the proposals that need no release"},
		{"%d%% of the expected effect comes from three proposals", "Plan the three proposals with the largest effect first"},
		{"The checkout is part of %d proposals", "Bundle the checkout's changes into one release"},
	}, []string{"roadmap_items", "quick_win_percentage"}},
}

func agentByID(id string) (agent, bool) {
	for _, a := range agents {
		if strings.EqualFold(a.id, id) {
			return a, true
		}
	}
	return agent{}, false
}

// randomFor returns a random generator that depends on the seed and the words alone, so that
// a workflow has the same results when it is run again.
func randomFor(seed uint64, words ...string) *rand.Rand {
	h := fnv.New64a()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

type insight struct {
	ID          string  `json:"id"`
	Title       string  `json:"title"`
	Confidence  float64 `json:"confidence_score"`
	DataPoints  int     `json:"data_points"`
	Category    string  `json:"category"`
	Description string  `json:"description"`
}

type recommendation struct {
	ID         string  `json:"id"`
	Category   string  `json:"category"`
	Priority   string  `json:"priority"`
	Title      string  `json:"title"`
	Rationale  string  `json:"rationale"`
	Confidence float64 `json:"confidence_score"`
	Effort     string  `json:"implementation_effort"`
}

type metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// results are what an agent found, in the shape of the API guide's
// workflow-results.
type results struct {
	Insights        []insight        `json:"insights"`
	Recommendations []recommendation `json:"recommendations"`
	Metrics         []metric         `json:"metrics"`
	ConfidenceScore float64          `json:"confidence_score"`
	DataPoints      int              `json:"data_points_analyzed"`
}

// resultsOf are the agent's results in the workflow: always the same ones for the
// same workflow id and seed.
func (a agent) resultsOf(seed uint64, workflowID string) results {
	rnd := randomFor(seed, workflowID, a.id)
	score := func() float64 { return math.Round(100*(0.7+0.28*rnd.Float64())) / 100 }
	r := results{ConfidenceScore: score(), DataPoints: 500 + rnd.IntN(9500)}
	efforts, priorities := []string{"low", "medium", "high"}, []string{"high", "medium", "low"}
	for i, n := range rnd.Perm(len(a.findings))[:2] {
		f := a.findings[n]
		text := fmt.Sprintf(f.insight, 4+rnd.IntN(25))
		points := 50 + rnd.IntN(950)
		r.Insights = append(r.Insights, insight{
			ID: fmt.Sprintf("%s_insight_%d", a.id, i+1), Title: text, Confidence: score(), DataPoints: points, Category: a.category,
			Description: fmt.Sprintf("%s, over %d data points", text, points),
		})
		r.Recommendations = append(r.Recommendations, recommendation{
			ID: fmt.Sprintf("%s_recommendation_%d", a.id, i+1), Category: a.category, Priority: priorities[(i+rnd.IntN(2))%3],
			Title: f.recommendation, Rationale: text, Confidence: score(), Effort: efforts[rnd.IntN(3)],
		})
	}
	for _, name := range a.metrics {
		value := float64(10 + rnd.IntN(400))
		if strings.HasSuffix(name, "_percentage") {
			value = math.Round(1000*rnd.Float64()) / 10
		}
		r.Metrics = append(r.Metrics, metric{name, value})
	}
	return r
}
