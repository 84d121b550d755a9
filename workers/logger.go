package workers

import (
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func newLogger(c Config) (*zap.Logger, error) {
	level, err := zap.ParseAtomicLevel(c.LogLevel)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--log-level", "%w", err)
	}
	config := zap.NewProductionConfig()
	if c.LogFormat == "console" {
		config = zap.NewDevelopmentConfig()
		config.Development = false
		config.DisableStacktrace = true
	}
	config.Level = level
	return config.Build()
}

// temporalLogger lets the Temporal SDK log through zap.
type temporalLogger struct{ log *zap.SugaredLogger }

func (l temporalLogger) Debug(message string, fields ...any) { l.log.Debugw(message, fields...) }
func (l temporalLogger) Info(message string, fields ...any)  { l.log.Infow(message, fields...) }
func (l temporalLogger) Warn(message string, fields ...any)  { l.log.Warnw(message, fields...) }
func (l temporalLogger) Error(message string, fields ...any) { l.log.Errorw(message, fields...) }
