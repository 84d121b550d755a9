package workers

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/pace"
)

// paced gives the provider of a cloud at the pace that all steps of this worker share.
// This machine grants as many calls as it can serve.
func paced(c Config, provider iaas.Provider, m *metrics) (iaas.Provider, error) {
	if c.Provider == "local" {
		return provider, nil
	}
	place := fleet.Place{Provider: c.Provider, Region: c.Region}
	p := pace.Wrap(provider, "region "+place.String(), pace.DefaultLimits())
	return p, m.watchPace(place, p)
}

// watchPace shows what the calls to a region have come to.
func (m *metrics) watchPace(place fleet.Place, p *pace.Provider) error {
	calls, err := m.meter.Int64ObservableCounter("flotilla_cloud_calls",
		metric.WithDescription("Calls to the cloud, by provider, region and class."))
	if err != nil {
		return err
	}
	throttled, err := m.meter.Int64ObservableCounter("flotilla_cloud_throttled",
		metric.WithDescription("Calls that the cloud refused for being too many."))
	if err != nil {
		return err
	}
	waited, err := m.meter.Float64ObservableCounter("flotilla_cloud_waited",
		metric.WithUnit("s"), metric.WithDescription("How long calls waited for their turn, together."))
	if err != nil {
		return err
	}
	waiting, err := m.meter.Int64ObservableGauge("flotilla_cloud_waiting",
		metric.WithDescription("Calls that wait for their turn now."))
	if err != nil {
		return err
	}
	rate, err := m.meter.Float64ObservableGauge("flotilla_cloud_pace",
		metric.WithDescription("Calls a second that are let through now."))
	if err != nil {
		return err
	}
	_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, class := range pace.Classes {
			s := p.Stats(class)
			of := metric.WithAttributes(attribute.String("provider", place.Provider),
				attribute.String("region", place.Region), attribute.String("class", string(class)))
			o.ObserveInt64(calls, s.Calls, of)
			o.ObserveInt64(throttled, s.Throttled, of)
			o.ObserveFloat64(waited, s.Waited.Seconds(), of)
			o.ObserveInt64(waiting, s.Waiting, of)
			o.ObserveFloat64(rate, s.Rate, of)
		}
		return nil
	}, calls, throttled, waited, waiting, rate)
	return err
}
