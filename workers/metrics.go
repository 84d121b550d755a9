package workers

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// metrics are the SDK's and our own, in one Prometheus registry.
type metrics struct {
	registry *prometheus.Registry
	temporal client.MetricsHandler
	steps    metric.Float64Histogram
	meter    metric.Meter
}

func newMetrics() (*metrics, error) {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(m.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	m.temporal = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: provider.Meter("temporal-sdk-go"), OnError: func(error) {}, UseMonotonicCounters: true,
	})
	m.meter = provider.Meter("flotilla")
	m.steps, err = m.meter.Float64Histogram("flotilla_step_duration",
		metric.WithUnit("s"), metric.WithDescription("How long one try of a step took, by step and outcome."),
		metric.WithExplicitBucketBoundaries(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000))
	return m, err
}

func (m *metrics) interceptor() interceptor.WorkerInterceptor { return &stepMetrics{m: m} }

// stepMetrics measures every try of every activity.
type stepMetrics struct {
	interceptor.WorkerInterceptorBase
	m *metrics
}

func (s *stepMetrics) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &stepInbound{m: s.m}
	i.Next = next
	return i
}

type stepInbound struct {
	interceptor.ActivityInboundInterceptorBase
	m *metrics
}

func (i *stepInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	began := time.Now()
	result, err := i.Next.ExecuteActivity(ctx, in)
	i.m.steps.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(
		attribute.String("step", activity.GetInfo(ctx).ActivityType.Name), attribute.String("outcome", outcome(err))))
	return result, err
}

// outcome is done, cancelled, the kind of the error, or error for one of no kind.
func outcome(err error) string {
	var application *temporal.ApplicationError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &application):
		return application.Type()
	case errors.Is(err, context.Canceled), temporal.IsCanceledError(err):
		return "cancelled"
	}
	return "error"
}
